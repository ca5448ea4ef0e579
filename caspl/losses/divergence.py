"""Knowledge distillation over class logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

REDUCTIONS = ("batchmean", "mean")


def distillation(student: Tensor, teacher: Tensor, temperature: float = 1.0, reduction: str = "batchmean") -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), CasPL (arXiv 2409.17805), equation of phase 1.

    The paper does not write the factor T^2 (its T is 1); the release has it, so that gradients keep their size.

    Args:
        student, teacher: (batch, classes) logits; the teacher's without gradient.
        temperature: T.
        reduction: ``batchmean`` sums over classes and averages over the batch (the release); ``mean`` also
            divides by the number of classes.
    """
    log_p = F.log_softmax(student.float() / temperature, dim=-1)
    log_q = F.log_softmax(teacher.float() / temperature, dim=-1)
    divisor = {"batchmean": student.shape[0], "mean": student.numel()}[reduction]
    return temperature**2 / divisor * F.kl_div(log_p, log_q, reduction="sum", log_target=True)


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 times the cross-entropy of softmax(student / T) under softmax(teacher / T), a mean over the batch (ProGrad).

    This is the divergence without the teacher's own entropy: the gradient is the same, the value is not.
    """
    return temperature**2 * F.cross_entropy(student.float() / temperature, (teacher.float() / temperature).softmax(-1))
