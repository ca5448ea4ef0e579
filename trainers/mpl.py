"""MPL (modular prompt learning, arXiv 2502.14125): MaPLe whose image tokens are added, carried and removed."""

from __future__ import annotations

from collections.abc import Sequence

from yacs.config import CfgNode

from caspl.prompts import Prompts, coupled_context, placeholder_context
from caspl.towers import CLIP
from trainers.base import PromptTrainer
from trainers.registry import register


@register
class MPL(PromptTrainer):
    """The words of CTX_INIT stay fixed behind the learned tokens, which start from a placeholder."""

    section = "MPL"
    saved_as = "MultiModalPromptLearner"
    defaults = {
        "N_CTX": 2,
        "N_ADD_OP": 2,
        "N_RM_OP": 1,
        "CTX_INIT": "a photo of a",
        "PREC": "fp16",
        "PROMPT_DEPTH": 9,
    }

    @staticmethod
    def prompts(clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        depth = min(options.PROMPT_DEPTH, clip.sizes.most_layers)
        context = placeholder_context(clip.text, options.N_CTX, depth, options.CTX_INIT)
        return coupled_context(clip, context, options.N_ADD_OP, options.N_RM_OP)
