"""The contrastive loss of pre-training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from caspl.pixels import OPENAI_MEAN, OPENAI_STD


def fitting(labels: Tensor, told: Tensor) -> Tensor:
    """Which caption (column) is true of which picture (row), as floats.

    In a batch of simple scenes many captions fit several pictures; counting those as negatives would teach the
    model to tell apart what it cannot know.

    Args:
        labels: (n, 3) structure, colour and ground of each pair.
        told: (n,) bool, whether the pair's caption tells the ground.
    """
    same = labels.unsqueeze(1) == labels.unsqueeze(0)
    return (same[..., 0] & same[..., 1] & (same[..., 2] | ~told.unsqueeze(0))).float()


def contrastive(image: Tensor, text: Tensor, scale: Tensor, fits: Tensor) -> Tensor:
    """Symmetric cross-entropy of scaled cosines against every caption that fits (CLIP, with several positives)."""
    logits = scale * F.normalize(image.float(), dim=-1) @ F.normalize(text.float(), dim=-1).t()
    by_image = F.cross_entropy(logits, fits / fits.sum(1, keepdim=True))
    by_text = F.cross_entropy(logits.t(), (fits / fits.sum(0, keepdim=True)).t())
    return (by_image + by_text) / 2


def normalised(pixels: Tensor) -> Tensor:
    """(n, 3, height, width), 0..1 -> as CLIP's preprocessing leaves them."""
    mean, std = torch.tensor(OPENAI_MEAN).view(3, 1, 1), torch.tensor(OPENAI_STD).view(3, 1, 1)
    return (pixels - mean) / std
