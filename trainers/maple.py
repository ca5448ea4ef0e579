"""MaPLe (arXiv 2210.03117): deep text tokens, and image tokens that are linear images of them."""

from __future__ import annotations

from collections.abc import Sequence

from yacs.config import CfgNode

from caspl.prompts import Prompts, coupled_context, text_context
from caspl.towers import CLIP
from trainers.base import PromptTrainer
from trainers.registry import register


@register
class MaPLe(PromptTrainer):
    """One depth and one length for both towers."""

    section = "MAPLE"
    saved_as = "MultiModalPromptLearner"
    defaults = {"N_CTX": 2, "CTX_INIT": "a photo of a", "PREC": "fp16", "PROMPT_DEPTH": 9}

    @staticmethod
    def prompts(clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        depth = min(options.PROMPT_DEPTH, clip.sizes.most_layers)
        return coupled_context(clip, text_context(clip.text, options.N_CTX, depth, options.CTX_INIT, beyond=True))
