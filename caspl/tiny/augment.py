"""Variation that is drawn anew whenever a picture of the general world is used."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def turned(images: Tensor, kind: int) -> Tensor:
    """One of the eight turns and mirrorings of a square, none of which changes what a caption says."""
    if kind & 1:
        images = images.flip(-1)
    if kind & 2:
        images = images.flip(-2)
    return images.transpose(-1, -2) if kind & 4 else images


def developed(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Develop pictures (n, 3, height, width), 0..1, as different cameras would: saturation, contrast, cast.

    Half of the pictures stay as they are. What a faded colour was called can be told from its surroundings alone.
    """

    def each(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (len(images), channels, 1, 1)).astype(np.float32))

    gray = images.mean(1, keepdim=True)
    other = gray + (images - gray) * each(0.3, 1.1)
    middle = other.mean((1, 2, 3), keepdim=True)
    other = middle * each(0.8, 1.2) + (other - middle) * each(0.5, 1.2)
    other = other * each(0.85, 1.15, 3)
    return torch.where(each(0, 1) < 0.5, images, other).clamp(0, 1)
