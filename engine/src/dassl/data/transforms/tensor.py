"""Transforms of uint8 tensors: the published ones, draw for draw, in a fraction of the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..batch import RoomFor
from ..decode import pixels_of

__all__ = ["TensorTransform", "ToFloat"]

Step = Callable[[Any], Any]


class ToFloat:
    """Turns uint8 pixels into floats in [0, 1], and normalises them if told to.

    Args:
        mean: of each channel; subtracted.
        std: of each channel; divided by.
    """

    def __init__(self, mean: Sequence[float] = (0, 0, 0), std: Sequence[float] = (1, 1, 1)) -> None:
        self.scale = 1 / (255 * torch.tensor(std).view(-1, 1, 1))
        self.shift = torch.tensor(mean).view(-1, 1, 1) / torch.tensor(std).view(-1, 1, 1)

    def __call__(self, pixels: Tensor, room_for: RoomFor | None = None) -> Tensor:
        """Convert uint8 (3, height, width), into the tensor that ``room_for`` returns for them if it is given."""
        # Laid out as the result first: moving bytes is cheaper than moving floats.
        pixels = pixels.contiguous()
        image = pixels.to(torch.get_default_dtype()) if room_for is None else room_for(pixels).copy_(pixels)
        return image.mul_(self.scale).sub_(self.shift)


class TensorTransform:
    """Steps on uint8 pixels, the step to floats, then steps on floats.

    Args:
        pixel_steps: from uint8 (3, height, width) to uint8 of the final size.
        float_steps: from floats in [0, 1] to the result; a leading normalisation becomes part of the step to floats.
        rule: what the pixel steps do, in words, if they do the same to an image every time; empty otherwise.
        only_torch: all random numbers come from torch's generator.
    """

    def __init__(
        self,
        pixel_steps: Sequence[Step],
        float_steps: Sequence[Step],
        rule: str = "",
        only_torch: bool = True,
    ) -> None:
        from torchvision.transforms import Normalize

        self.pixel_steps = pixel_steps
        self.to_float = ToFloat()
        self.float_steps = float_steps
        if float_steps and isinstance(float_steps[0], Normalize):
            self.to_float = ToFloat(float_steps[0].mean, float_steps[0].std)
            self.float_steps = float_steps[1:]
        self.rule = rule
        self.only_torch = only_torch

    def __call__(self, image: Tensor | Image.Image) -> Tensor:
        """Transform uint8 pixels (3, height, width), or an RGB image of PIL."""
        return self.finish(self.cut(pixels_of(image) if isinstance(image, Image.Image) else image))

    def cut(self, pixels: Tensor) -> Tensor:
        """Apply the pixel steps alone."""
        for step in self.pixel_steps:
            pixels = step(pixels)
        return pixels

    def finish(self, pixels: Tensor, room_for: RoomFor | None = None) -> Tensor:
        """Apply the other steps alone, to what :meth:`cut` returned."""
        image = self.to_float(pixels, room_for)
        for step in self.float_steps:
            image = step(image)
        return image
