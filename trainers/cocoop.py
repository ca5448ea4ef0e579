"""CoCoOp (arXiv 2203.05557): CoOp's context, shifted by what each image shows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from yacs.config import CfgNode

from caspl.prompts import ImageConditioned, Prompts, coop_context
from caspl.towers import CLIP
from trainers.base import PromptTrainer
from trainers.registry import register


@register
class CoCoOp(PromptTrainer):
    """Text features are made for every image anew. The published batch is 1 for want of memory alone."""

    section = "COCOOP"
    text_only = True
    defaults = {"N_CTX": 16, "CTX_INIT": "", "PREC": "fp16"}

    @staticmethod
    def prompts(clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        conditioned = partial(ImageConditioned, embed_dim=clip.sizes.embed_dim)
        return coop_context(clip.text, options.N_CTX, options.CTX_INIT, segment_type=conditioned)
