"""Pictures in: what may be given, how a file is read, and how a CLIP's preprocessing is applied to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from caspl.data.listing import IMAGE_SUFFIXES
from caspl.errors import CasPLError, first_line
from caspl.pixels import Pixels

Picture = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor
"""A path, a PIL image, an array (height, width, 3) of bytes, or normalised pixels (3, size, size)."""


def read_picture(
    path: str | os.PathLike[str] | IO[bytes], name: str = "", formats: tuple[str, ...] | None = None
) -> Image.Image:
    """A file as RGB, by the same rules as in training: of 16-bit values the high byte, alpha dropped, no turning.

    Args:
        path: of the file, or its bytes as an open one.
        name: what it is called in a sentence; by default its path.
        formats: Pillow's names of those that are read; by default all.

    Raises:
        CasPLError: if it is missing, broken, or of numbers without a scale; naming it.
    """
    try:
        with Image.open(path, formats=formats) as image:
            if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
                return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8)).convert("RGB")
            if image.mode in ("I", "F"):
                raise ValueError(
                    f"it holds grey values of 32 bits ({image.mode}), of which nothing tells the white one"
                )
            if image.mode == "P" and "transparency" in image.info:
                return image.convert("RGBA").convert("RGB")
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise CasPLError(f"there is no picture {path}") from error
    except UnidentifiedImageError as error:
        raise CasPLError(f"the picture {name or path} cannot be read: it is of no kind that is known") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CasPLError(f"the picture {name or path} cannot be read: {first_line(error)}") from error


class Transform:
    """A picture to the normalised pixels (3, size, size) that a CLIP takes, as in the tests of a run.

    Args:
        pixels: what the CLIP takes.
    """

    def __init__(self, pixels: Pixels) -> None:
        from torchvision import transforms as T

        try:
            mode = T.InterpolationMode(pixels.interpolation)
        except ValueError as error:
            raise CasPLError(f"the interpolation {pixels.interpolation!r} of the pictures is not known") from error
        self.pixels = pixels
        self._steps = T.Compose([
            T.Resize(pixels.size, interpolation=mode, antialias=True),
            T.CenterCrop(pixels.size),
            T.ToTensor(),
            T.Normalize(pixels.mean, pixels.std),
        ])  # fmt: skip

    def __call__(self, picture: Picture) -> Tensor:
        """Of one picture; a tensor is taken as it is.

        Raises:
            CasPLError: if it cannot be read, or is a tensor or array of another shape.
        """
        if isinstance(picture, Tensor):
            side = self.pixels.size
            if picture.shape != (3, side, side) or not picture.is_floating_point():
                raise CasPLError(
                    f"a tensor holds normalised pixels (3, {side}, {side}) of numbers, not {tuple(picture.shape)} of "
                    f"{picture.dtype}: give the picture itself, or model.transform(picture)"
                )
            return picture
        if isinstance(picture, np.ndarray):
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
                raise CasPLError(
                    f"an array holds bytes (height, width, 3), not {picture.dtype} {picture.shape}: give it so, or as "
                    "a PIL image"
                )
            picture = Image.fromarray(picture)
        if isinstance(picture, Image.Image):
            return self._steps(picture.convert("RGB"))
        return self._steps(read_picture(picture))


def pictures_of(given: Any) -> Iterable[Picture]:
    """The pictures that somebody means: one, several, a batch of pixels, or the folder that holds them.

    Raises:
        CasPLError: if a folder holds none.
    """
    if isinstance(given, Tensor | np.ndarray) and given.ndim == 4:
        return iter(given)
    if isinstance(given, str | os.PathLike):
        return pictures_below(Path(given)) if Path(given).is_dir() else [given]
    if isinstance(given, Image.Image | np.ndarray | Tensor):
        return [given]
    return given


def pictures_below(folder: Path) -> list[Path]:
    """The picture files of a folder and those below it, sorted, without hidden ones.

    Raises:
        CasPLError: if there are none.
    """
    found = []
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = sorted(name for name in files if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."))
        found += [Path(here) / name for name in names]
    if not found:
        raise CasPLError(f"{folder} holds no picture ({', '.join(IMAGE_SUFFIXES)})")
    return found


def batches(
    pictures: Iterable[Picture],
    transform: Transform,
    size: int,
    unread: Callable[[Picture, CasPLError], object] | None = None,
) -> Iterator[tuple[Sequence[Picture], Tensor]]:
    """Batches (n, 3, size, size) with what they were made from, one after the other; files are decoded in threads.

    Args:
        pictures: see :func:`pictures_of`.
        transform: makes pixels of them.
        size: of a batch.
        unread: is told of each that cannot be read, which is left out; None raises the error.
    """
    if size < 1:
        raise CasPLError(f"a batch holds at least one picture, not {size}")
    rest = iter(pictures)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        while some := list(islice(rest, size)):
            if unread is None:
                yield some, torch.stack(list(pool.map(transform, some)))
                continue
            read = []
            for picture, found in zip(some, pool.map(partial(_tried, transform), some), strict=True):
                if isinstance(found, CasPLError):
                    unread(picture, found)
                else:
                    read.append((picture, found))
            if read:
                yield [picture for picture, _ in read], torch.stack([pixels for _, pixels in read])


def _tried(transform: Transform, picture: Picture) -> Tensor | CasPLError:
    try:
        return transform(picture)
    except CasPLError as error:
        return error
