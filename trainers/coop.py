"""CoOp (arXiv 2109.01134): context tokens in the first layer of the text tower."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from yacs.config import CfgNode

from caspl.prompts import Prompts, coop_context
from caspl.towers import CLIP
from trainers.base import PromptTrainer
from trainers.registry import register

logger = logging.getLogger(__name__)


@register
class CoOp(PromptTrainer):
    """Unified or class-specific context; with words, their number is the context's length."""

    section = "COOP"
    text_only = True
    defaults = {"N_CTX": 16, "CSC": False, "CTX_INIT": "", "PREC": "fp16", "CLASS_TOKEN_POSITION": "end"}

    @staticmethod
    def prompts(clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        if options.CSC and options.CTX_INIT:
            logger.warning("TRAINER.COOP.CSC is not used: a context that starts from words is one for all classes")
        classes = len(classnames) if options.CSC else None
        return coop_context(clip.text, options.N_CTX, options.CTX_INIT, classes, options.CLASS_TOKEN_POSITION)
