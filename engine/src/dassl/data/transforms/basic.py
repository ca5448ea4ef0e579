"""Transforms that torchvision does not have in this form."""

from __future__ import annotations

import random

import numpy as np
import torch
from PIL import Image
from torch import Tensor

__all__ = ["Cutout", "GaussianNoise", "InstanceNormalization", "Random2DTranslation"]


class Random2DTranslation:
    """Resizes to an eighth more than wanted and cuts out a random window; otherwise only resizes.

    Args:
        height: height of the result.
        width: width of the result.
        p: probability of the translation.
        interpolation: PIL's resampling filter.
    """

    def __init__(self, height: int, width: int, p: float = 0.5, interpolation: int = Image.Resampling.BILINEAR) -> None:
        self.height = height
        self.width = width
        self.p = p
        self.interpolation = Image.Resampling(interpolation)

    def __call__(self, img: Image.Image) -> Image.Image:
        if random.uniform(0, 1) > self.p:
            return img.resize((self.width, self.height), self.interpolation)
        width, height = round(self.width * 1.125), round(self.height * 1.125)
        img = img.resize((width, height), self.interpolation)
        left = round(random.uniform(0, width - self.width))
        top = round(random.uniform(0, height - self.height))
        return img.crop((left, top, left + self.width, top + self.height))


class InstanceNormalization:
    """Gives each channel of an image mean 0 and standard deviation 1.

    Args:
        eps: added to the standard deviation.
    """

    def __init__(self, eps: float = 1e-8) -> None:
        self.eps = eps

    def __call__(self, img: Tensor) -> Tensor:
        """Normalise (channels, height, width)."""
        mean = img.mean(dim=(1, 2), keepdim=True)
        return (img - mean) / (img.std(dim=(1, 2), keepdim=True) + self.eps)


class Cutout:
    """Sets random squares to zero; they may reach over the border.

    Args:
        n_holes: how many squares.
        length: their side, rounded down to an even number.
    """

    def __init__(self, n_holes: int = 1, length: int = 16) -> None:
        self.n_holes = n_holes
        self.length = length

    def __call__(self, img: Tensor) -> Tensor:
        """Cut (channels, height, width)."""
        height, width = img.shape[-2:]
        half = self.length // 2
        mask = torch.ones(height, width, dtype=img.dtype)
        for _ in range(self.n_holes):
            y = np.random.randint(height)
            x = np.random.randint(width)
            mask[max(y - half, 0) : y + half, max(x - half, 0) : x + half] = 0
        return img * mask


class GaussianNoise:
    """Adds normal noise, sometimes.

    Args:
        mean: of the noise.
        std: of the noise.
        p: probability of adding it.
    """

    def __init__(self, mean: float = 0.0, std: float = 0.15, p: float = 0.5) -> None:
        self.mean = mean
        self.std = std
        self.p = p

    def __call__(self, img: Tensor) -> Tensor:
        if random.uniform(0, 1) > self.p:
            return img
        return img + torch.randn(img.size()) * self.std + self.mean
