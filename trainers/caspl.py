"""CasPL, phase 1 (arXiv 2409.17805, section 3.2): distil a larger teacher into boosting tokens, without labels."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from yacs.config import CfgNode

from caspl.dassl.outcome import PHASE_1, Sections
from caspl.dassl.phase1 import Phase1
from caspl.dassl.section import DEFAULTS
from caspl.prompts import Prompts
from caspl.towers import CLIP
from trainers.base import PromptTrainer
from trainers.registry import register


@register
class CasPL(Phase1, PromptTrainer):
    """The boosting trainer."""

    section = "CASPL"
    saved_as = "CasPL"
    cascades = False
    training_only = ("BOOSTING", "BOOSTING_DIR", "BOOSTING_DATASET", "BOOSTING_SEED", "TRAINABLE", "REFERENCE")
    defaults = DEFAULTS

    def prompts(self, clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        return self.boosting_segments(clip)

    def sections(self) -> Sections:
        return {"CASPL": PHASE_1}

    def whats_next(self) -> list[str]:
        folder = shlex.quote(self.cfg.TRAINER.CASPL.BOOSTING_DIR)
        phase2 = f"python train.py --trainer CasPL_PromptSRC ... TRAINER.CASPL.BOOSTING_DIR {folder}"
        return [phase2, *super().whats_next()]
