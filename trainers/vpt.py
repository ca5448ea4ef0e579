"""VPT (visual prompt tuning, arXiv 2203.12119) on CLIP, as published with MaPLe: tokens of the image tower alone."""

from __future__ import annotations

from collections.abc import Sequence

from yacs.config import CfgNode

from caspl.prompts import Prompts, vision_tokens
from caspl.prompts.templates import DEFAULT_TEMPLATE
from caspl.towers import CLIP
from trainers.base import PromptTrainer
from trainers.registry import register


@register
class VPT(PromptTrainer):
    """The text is fixed, "a photo of a" and the class name; the published trainer does not read CTX_INIT either."""

    section = "VPT"
    defaults = {"N_CTX_VISION": 2, "CTX_INIT": "a photo of a", "PREC": "fp16", "PROMPT_DEPTH_VISION": 1}

    @staticmethod
    def prompts(clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        tokens = vision_tokens(clip, options.N_CTX_VISION, options.PROMPT_DEPTH_VISION)
        return Prompts(vision=tokens, templates=(DEFAULT_TEMPLATE,))
