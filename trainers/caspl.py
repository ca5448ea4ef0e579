"""CasPL, phase 1 (arXiv 2409.17805, section 3.2): distil a larger teacher into boosting tokens, without labels."""

from __future__ import annotations

from torch import Tensor

from caspl.dassl.phase1 import Phase1
from caspl.dassl.section import DEFAULTS
from caspl.model import Output
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
    labelled = False
    defaults = DEFAULTS

    def prompts(self, clip: CLIP) -> Prompts:
        return self.boosting_segments(clip)

    def prepare(self) -> None:
        self.make_teacher()

    def losses(self, output: Output, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"kl": self.divergence(output, images)}
