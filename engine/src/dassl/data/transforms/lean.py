"""torchvision's two random transforms of nearly every run, without what its classes do around them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["RandomFlip", "RandomResizedCrop"]

_RATIO = (3 / 4, 4 / 3)


class RandomResizedCrop:
    """Cuts out a random box and resizes it: with the same generator the same box as torchvision's classes.

    Args:
        size: (height, width) of the result.
        scale: range of the box's share of the area; its sides are as 3:4 to 4:3.
        interpolation: torchvision's mode.
    """

    def __init__(self, size: tuple[int, int], scale: tuple[float, float], interpolation: Any) -> None:
        from torchvision.transforms import RandomResizedCrop as Published
        from torchvision.transforms.v2.functional import resized_crop_image

        self.size = list(size)
        self.scale = scale
        self.interpolation = interpolation
        self._box = Published.get_params
        self._resized_crop = resized_crop_image

    def __call__(self, pixels: Tensor) -> Tensor:
        """Crop (3, height, width)."""
        box = self._box(pixels, self.scale, _RATIO)
        return self._resized_crop(pixels, *box, self.size, interpolation=self.interpolation, antialias=True)


class RandomFlip:
    """Mirrors every second image."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """Flip (3, height, width) from left to right."""
        return pixels.flip(-1) if torch.rand(1) < 0.5 else pixels
