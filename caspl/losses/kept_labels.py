"""The largest logits of a teacher, as FDBPL (arXiv 2505.18053) keeps them, and all logits from them again."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class TopLogits(NamedTuple):
    """What is kept of (..., classes) logits.

    Args:
        classes: (..., k) numbers of the classes with the largest logits, the largest first.
        values: (..., k) their logits.
        log_sum: (...) logarithm of the sum of exp(logits) over all classes. The release does not keep it.
    """

    classes: Tensor
    values: Tensor
    log_sum: Tensor


def top_logits(logits: Tensor, k: int) -> TopLogits:
    """The k largest of (..., classes) logits.

    Args:
        logits: any number of them.
        k: how many, from 1 to the number of classes.
    """
    values, classes = logits.float().topk(k, dim=-1)
    return TopLogits(classes, values, logits.float().logsumexp(dim=-1))


def shared_tail(kept: TopLogits, classes: int) -> Tensor:
    """Log-probabilities (..., classes): those that are kept are exact, the other classes share what is left equally.

    This is FKD's rule for probabilities (arXiv 2112.01528), which the log-sum-exp gives back.

    Args:
        kept: of these logits.
        classes: their number, more than were kept.
    """
    listed = kept.values - kept.log_sum.unsqueeze(-1)
    # What is left is positive but for rounding; a class without any mass would be infinitely far from a student.
    left = (-torch.expm1(listed.logsumexp(dim=-1, keepdim=True))).clamp(min=torch.finfo(listed.dtype).eps)
    tail = (left / (classes - listed.shape[-1])).log()
    return tail.expand(*tail.shape[:-1], classes).scatter(-1, kept.classes, listed)


def released_tail(kept: TopLogits, classes: int) -> Tensor:
    """Logits (..., classes) by FKD's rule on raw logits: each other class gets (1 - the kept ones' sum) / their number.

    FDBPL keeps raw logits, and how its loader makes all logits from them is not public; this reading agrees with its
    files. With logits of usual size, 20 to 35, the other classes are left without mass.

    Args:
        kept, classes: see :func:`shared_tail`.
    """
    tail = (1 - kept.values.sum(dim=-1, keepdim=True)) / (classes - kept.values.shape[-1])
    return tail.expand(*tail.shape[:-1], classes).scatter(-1, kept.classes, kept.values)
