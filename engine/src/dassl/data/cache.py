"""Decoded images in one file, mapped into memory: what is read again and again is decoded once.

A cache is a flat file of pixels, and a JSON file that says what they are of. The JSON file is written last, so
that any number of processes may make the same cache at once: a reader finds a whole one, or none. It also holds a
checksum of each image, so that pixels that were damaged later are noticed when they are first read.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..utils.atomic import atomic_write
from ..utils.logger import logger
from ..utils.tools import ImageError

__all__ = ["ImageCache", "open_cache"]

Load = Callable[[str], Tensor]
About = dict[str, Any]
# What is known of an image's pixels.
_UNREAD, _GOOD, _BAD = range(3)


class ImageCache:
    """The first images of a list.

    Args:
        path: the file of pixels, those of each image in the order (height, width, 3).
        sizes: (height, width) of each image.
        checksums: CRC-32 of each image's pixels.

    Raises:
        ValueError: the file has another length, or the checksums are not as many as the sizes.
    """

    def __init__(self, path: Path, sizes: Sequence[Sequence[int]], checksums: Sequence[int]) -> None:
        self.path = path
        self.sizes = [(int(height), int(width)) for height, width in sizes]
        self.ends = np.cumsum([3 * height * width for height, width in self.sizes], dtype=np.int64)
        self.checksums = [int(checksum) for checksum in checksums]
        if len(self.checksums) != len(self.sizes):
            raise ValueError(f"there are {len(self.checksums)} checksums of {len(self.sizes)} images")
        self.pixels: np.ndarray[Any, np.dtype[np.uint8]] | None = self._map()
        self.marks = self._blank()

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Tensor | None:
        """Return a copy of an image's pixels: uint8, (3, height, width); None if they are damaged or gone."""
        if self.pixels is None or self.marks[index] == _BAD:
            return None
        height, width = self.sizes[index]
        end = self.ends[index]
        pixels = np.array(self.pixels[end - 3 * height * width : end])
        if self.marks[index] == _UNREAD:
            good = zlib.crc32(pixels.data) == self.checksums[index]
            self.marks[index] = _GOOD if good else _BAD
            if not good:
                self._warn()
                return None
        return torch.from_numpy(pixels.reshape(height, width, 3)).permute(2, 0, 1)

    def _map(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        size = self.path.stat().st_size
        if size != self.ends[-1]:
            raise ValueError(f"{self.path.name} has {size} bytes instead of {self.ends[-1]}")
        return np.memmap(self.path, dtype=np.uint8, mode="r")

    def _blank(self) -> mmap.mmap:
        # A mark for each image, and one for the warning. Forked workers share them, or every epoch would check anew.
        return mmap.mmap(-1, len(self.sizes) + 1)

    def _warn(self) -> None:
        if self.marks[len(self)] == _UNREAD:
            self.marks[len(self)] = _BAD
            logger.warning(
                "The image cache %s is damaged, damaged images are decoded instead; delete it to make it anew",
                self.path,
            )

    def __getstate__(self) -> dict[str, Any]:
        # A map would be pickled with all that it shows.
        return {key: value for key, value in self.__dict__.items() if key not in ("pixels", "marks")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.marks = self._blank()
        try:
            self.pixels = self._map()
        except (OSError, ValueError) as error:
            # A run with another budget has put its own in this one's place.
            logger.warning("The image cache %s is gone, images are decoded instead: %s", self.path, error)
            self.pixels = None


def open_cache(
    folder: str | Path, budget: int, paths: Sequence[str], rule: str, load: Load, workers: int = 0
) -> ImageCache | None:
    """Open the cache of some images; make it, if there is none that is whole and of these files as they are now.

    Args:
        folder: where caches lie.
        budget: bytes that a new one may have; it ends before the first image that does not fit.
        paths: the image files.
        rule: what ``load`` does, in words; part of the cache's identity.
        load: from a path to the pixels to keep, uint8 (3, height, width).
        workers: processes to load with.

    Returns:
        The cache; None if not even the first image fits, or if the folder cannot be written.

    Raises:
        ImageError: an image is missing or broken.
    """
    about = _about(paths, rule)
    sidecar = Path(folder) / f"{about['name']}.json"
    cache = _existing(sidecar, about, budget)
    if cache is None:
        try:
            cache = _make(sidecar, about, budget, _Images(paths, load), workers)
        except ImageError:
            raise
        except OSError as error:
            logger.info("Note: no image cache, since %s cannot be written: %s", folder, error)
            return None
    kept = 0 if cache is None else len(cache)
    if kept < len(paths):
        logger.info("Note: the first %d of %d images fit DATALOADER.CACHE_BYTES %d", kept, len(paths), budget)
    return cache


class _Images(Dataset[Tensor]):
    def __init__(self, paths: Sequence[str], load: Load) -> None:
        self.paths = paths
        self.load = load

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return self.load(self.paths[index])


def _about(paths: Sequence[str], rule: str) -> About:
    """Say what a cache is of. Its name follows from the request; the files may change and keep it."""
    import torchvision

    paths = [os.path.abspath(path) for path in paths]
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "pillow": PIL.__version__}
    request = {"format": 1, "rule": rule, "versions": versions, "images": len(paths)}
    files = _digest([_state(path) for path in paths])
    return {**request, "files": files, "name": _digest([request, paths])[:24]}


def _state(path: str) -> list[int]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise ImageError(f"the image {path} cannot be read: {error}") from error
    return [found.st_size, found.st_mtime_ns]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _pixels_of(sidecar: Path, about: About, budget: int) -> Path:
    # Whoever writes under this name writes the same bytes.
    return sidecar.with_name(f"{about['name']}-{_digest([about, budget])[:12]}.u8")


def _existing(sidecar: Path, about: About, budget: int) -> ImageCache | None:
    try:
        found = json.loads(sidecar.read_text(encoding="utf-8"))
        if found["about"] != about:
            raise ValueError("the images have changed")
        cache = ImageCache(_pixels_of(sidecar, about, found["budget"]), found["sizes"], found["checksums"])
        if len(cache) < about["images"] and budget > found["budget"]:
            raise ValueError("there is room for more images now")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        logger.info("The image cache %s is made anew: %s", sidecar, error)
        return None
    logger.info("Found image cache %s (%d images)", sidecar, len(cache))
    return cache


def _make(sidecar: Path, about: About, budget: int, images: _Images, workers: int) -> ImageCache | None:
    logger.info("Making image cache %s (%d images)", sidecar, len(images))
    sidecar.parent.mkdir(parents=True, exist_ok=True)
    # A generator of its own, since beginning draws a random number.
    loader = DataLoader(images, batch_size=None, num_workers=workers, generator=torch.Generator())
    path = _pixels_of(sidecar, about, budget)
    sizes: list[list[int]] = []
    checksums: list[int] = []
    total = 0
    with atomic_write(path) as file:
        for image in loader:
            total += image.numel()
            if total > budget:
                break
            pixels = image.permute(1, 2, 0).contiguous().numpy().data
            file.write(pixels)
            checksums.append(zlib.crc32(pixels))
            sizes.append(list(image.shape[1:]))
    if not sizes:
        path.unlink()
        return None
    cache = ImageCache(path, sizes, checksums)
    with atomic_write(sidecar, "w") as file:
        json.dump({"about": about, "budget": budget, "sizes": sizes, "checksums": checksums}, file)
    for former in set(sidecar.parent.glob(f"{about['name']}-*.u8")) - {path}:
        with suppress(OSError):
            former.unlink()
    return cache
