"""Phase 1's objective (CasPL, arXiv 2409.17805, section 3.2): a teacher's class logits, passed on to the student."""

from __future__ import annotations

from torch import Tensor

from caspl.losses import distillation
from caspl.model import Output
from caspl.step.batch import Batch
from caspl.teachers import Teacher


class Distillation:
    """Divergence of the student's class logits from those of a teacher on the same images.

    Args:
        teacher: gives the logits.
        temperature, reduction: see :func:`caspl.losses.divergence`.
        scale: factor of the teacher's cosines, the student's in the release; None takes the teacher's own.
    """

    def __init__(
        self, teacher: Teacher, temperature: float = 1.0, reduction: str = "batchmean", scale: Tensor | None = None
    ) -> None:
        self.teacher, self.temperature, self.reduction, self.scale = teacher, temperature, reduction, scale

    def __call__(self, output: Output, batch: Batch) -> Tensor:
        """The loss of a batch."""
        logits = self.teacher.logits(batch, self.scale)
        return distillation(output.logits, logits, self.temperature, self.reduction)
