"""Losses of regions that a teacher has seen (FDBPL, arXiv 2505.18053), one number an image unless it says otherwise.

The paper's equations are not public; these are those of the released code. The margin form of the difference between
classes stands there in comments only.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

EPS = 1e-6  # the release's, in the logarithm of the weights' entropy


def certainty(logits: Tensor) -> Tensor:
    """How sure a teacher is, 1 - H(p) / log C: (batch,), from 0 for a uniform answer to 1.

    Args:
        logits: (batch, classes), of two or more classes.
    """
    p = logits.float().softmax(dim=-1)
    return 1 + (p * (p + EPS).log()).sum(dim=-1) / math.log(logits.shape[-1])


def each_way(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """KL(teacher || student) and KL(student || teacher) of every image: (batch,) each.

    Args:
        student, teacher: (batch, classes) logits; the teacher's without gradient.
    """
    log_p, log_q = F.log_softmax(student.float(), dim=-1), F.log_softmax(teacher.float(), dim=-1)
    forward = F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(dim=-1)
    return forward, F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=-1)


def decidedness(logits: Tensor) -> Tensor:
    """-H(softmax) of every image, (batch,): to minimise it is to become uniform, where it is -log C."""
    log_p = F.log_softmax(logits.float(), dim=-1)
    return (log_p.exp() * log_p).sum(dim=-1)


def margin_difference(
    image: Tensor, positive: Tensor, negative: Tensor, teacher: Tensor, weights: Tensor, margin: float
) -> Tensor:
    """Differences between classes as a hinge, a scalar: the release's commented-out form, as a mean over pairs.

    With D_c = positive_c - negative_c and Delta = D_y - D_y' for two images x, x' whose teacher's classes y, y' differ,
    it is w w' max(0, x'.Delta - x.Delta + margin). The order of the two does not matter. The release sums over pairs.

    Args:
        image: (batch, embed_dim), normalised.
        positive, negative: (classes, embed_dim) text features, normalised.
        teacher: (batch, classes) logits, without gradient.
        weights: (batch,), see :func:`certainty`.
        margin: of the hinge.

    Returns:
        The mean over all pairs of images with different classes; 0 where there is none.
    """
    classes = teacher.argmax(dim=-1)
    # (i, j): image i with the difference of image j's class.
    along = image.float() @ (positive - negative).float().index_select(0, classes).T
    own = along.diagonal()
    hinge = (along + along.T - own.unsqueeze(0) - own.unsqueeze(1) + margin).relu()
    differ = (classes.unsqueeze(0) != classes.unsqueeze(1)).float()
    weighted = differ * weights.unsqueeze(0) * weights.unsqueeze(1) * hinge
    return weighted.sum() / differ.sum().clamp(min=1)


def summed_difference(positive: Tensor, negative: Tensor, teacher: Tensor) -> Tensor:
    """Differences between classes as the release adds them up, a scalar: always 0 but for rounding, with gradient 0.

    The sum over ordered pairs of different classes of the mean over the width of D_i - D_j: each pair comes in both
    orders, so that everything cancels.

    Args:
        positive, negative, teacher: see :func:`margin_difference`.
    """
    classes = teacher.argmax(dim=-1)
    repeated = (classes.unsqueeze(1) == classes.unsqueeze(0)).tril(-1).any(dim=1)
    first = (~repeated).float()  # one image for each class
    means = (positive - negative).float().mean(dim=-1).index_select(0, classes)
    between = means.unsqueeze(1) - means.unsqueeze(0)
    return (between * first.unsqueeze(1) * first.unsqueeze(0)).sum()


def likeness(positive: Tensor, negative: Tensor) -> Tensor:
    """Cosine between the (batch, classes) logits of two sets of texts, for every image: (batch,)."""
    return torch.cosine_similarity(positive.float(), negative.float(), dim=-1)
