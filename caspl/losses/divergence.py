"""Knowledge distillation over class logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

REDUCTIONS = ("batchmean", "mean")


def both_ways(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """KL(teacher || student) and KL(student || teacher), each a mean over the batch (KDPL, arXiv 2407.03056).

    Args:
        student, teacher: (batch, classes) logits of the same classes; the teacher's without gradient.
    """
    log_p, log_q = F.log_softmax(student.float(), dim=-1), F.log_softmax(teacher.float(), dim=-1)
    forward = F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
    return forward, F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


def most_probable(logits: Tensor, count: int) -> Tensor:
    """Numbers of the classes that are the most probable on average over a batch (KDPL, class-agnostic).

    Args:
        logits: (batch, classes).
        count: how many; all, where there are not more. They come in no particular order.
    """
    mean = logits.float().softmax(dim=-1).mean(dim=0)
    return mean.topk(min(count, logits.shape[-1]), sorted=False).indices


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
