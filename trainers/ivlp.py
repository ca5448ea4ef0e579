"""IVLP (independent vision-language prompting, arXiv 2210.03117): deep tokens in both towers, not coupled."""

from __future__ import annotations

from collections.abc import Sequence

from yacs.config import CfgNode

from caspl.prompts import Prompts, both_towers
from caspl.towers import CLIP
from trainers.base import PromptTrainer
from trainers.registry import register


@register
class IVLP(PromptTrainer):
    """Text and vision tokens of their own lengths and depths."""

    section = "IVLP"
    saved_as = "VLPromptLearner"
    defaults = {
        "N_CTX_VISION": 2,
        "N_CTX_TEXT": 2,
        "CTX_INIT": "a photo of a",
        "PREC": "fp16",
        "PROMPT_DEPTH_VISION": 9,
        "PROMPT_DEPTH_TEXT": 9,
    }

    @staticmethod
    def prompts(clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        text = (options.N_CTX_TEXT, options.PROMPT_DEPTH_TEXT)
        vision = (options.N_CTX_VISION, options.PROMPT_DEPTH_VISION)
        return both_towers(clip, text, vision, options.CTX_INIT)
