"""From an image file to a tensor of its pixels."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..utils.tools import read_image

__all__ = ["pixels_of", "read_tensor"]

_JPEG = b"\xff\xd8\xff"
_RGB = 3
# Of what PIL refuses as a bomb, a file that says it is huge, to take all memory.
_MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 2**63)
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def read_tensor(path: str) -> Tensor:
    """Read an image file as RGB pixels, the same that PIL reads: alpha is dropped, EXIF rotation is not applied.

    Its first bytes say what a file is: names lie. torchvision decodes JPEG; PIL all else, and what torchvision refuses.

    Returns:
        uint8, (3, height, width), in memory (height, width, 3), for which resizing is fastest.

    Raises:
        ImageError: the file is missing or broken; the message names it.
    """
    decode = _jpeg_decoder()
    # What cannot be read or decoded here, PIL reads, or refuses in its own words.
    with suppress(OSError, RuntimeError), open(path, "rb") as file:
        data = bytearray(file.read())
        if decode is not None and data.startswith(_JPEG) and _claimed_pixels(data) <= _MOST_PIXELS:
            return decode(torch.frombuffer(data, dtype=torch.uint8), _RGB)
    return pixels_of(read_image(path))


def pixels_of(image: Image.Image) -> Tensor:
    """Return the pixels of an RGB image: uint8, (3, height, width)."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _claimed_pixels(data: bytearray) -> int:
    """Return how many pixels a JPEG says it has; 0 if it does not say."""
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        if data[place + 1] in _FRAMES:
            height, width = data[place + 5 : place + 7], data[place + 7 : place + 9]
            return int.from_bytes(height, "big") * int.from_bytes(width, "big")
        if data[place + 1] == 0xFF:  # filling
            place += 1
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return 0


@cache
def _jpeg_decoder() -> Callable[[Tensor, int], Tensor] | None:
    """Return the operator behind ``torchvision.io.decode_jpeg``, None where there is none.

    The function itself has warned since torchvision 0.29, at each call, that it will go. What is to replace it,
    torchcodec's, turns images by their EXIF tag: other pixels than the published ones.
    """
    with suppress(ImportError):
        import torchvision.io  # noqa: F401  loads the operator

    return getattr(torch.ops.image, "decode_jpeg", None)
