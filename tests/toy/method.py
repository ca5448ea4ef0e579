"""A method of a user's own, in one file: tokens behind the class name."""

from __future__ import annotations

from collections.abc import Sequence

from yacs.config import CfgNode

from caspl.prompts import Prompts, Segment, normal_tokens
from caspl.towers import CLIP
from trainers.base import PromptTrainer
from trainers.registry import register


@register
class Toy(PromptTrainer):
    """One layer of tokens between the class name and the full stop."""

    section = "TOY"
    defaults = {"N_CTX": 2, "PREC": "fp32"}

    @staticmethod
    def prompts(clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        return Prompts(after=[Segment("adapting", normal_tokens(1, options.N_CTX, clip.sizes.text_width))])
