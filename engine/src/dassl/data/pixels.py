"""Pixels for transforms on tensors, decoded from files or taken from a cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from yacs.config import CfgNode

from .cache import ImageCache, open_cache
from .datasets.base_dataset import Datum
from .decode import read_tensor
from .transforms.kit import choose_kit
from .transforms.tensor import TensorTransform

__all__ = ["PixelSource"]


class PixelSource:
    """The pixels of each image: whole, or cut by a transform that always cuts the same.

    Args:
        cfg: the configuration; DATALOADER.CACHE_BYTES above 0 switches the cache on.
        data_source: the images.
        cut_by: the transform whose pixel steps are applied here; None for whole images.
        shrink: whether DATALOADER.CACHE_SHORT_SIDE applies.
    """

    def __init__(
        self, cfg: CfgNode, data_source: Sequence[Datum], cut_by: TensorTransform | None, shrink: bool
    ) -> None:
        self.cfg = cfg
        self.data_source = data_source
        self.cut_by = cut_by
        self.cache: ImageCache | None = None
        self._cache_wanted = cfg.DATALOADER.CACHE_BYTES > 0
        self.short_side: int = cfg.DATALOADER.CACHE_SHORT_SIDE if shrink and self._cache_wanted else 0

    def __getitem__(self, index: int) -> Tensor:
        """Return uint8, (3, height, width)."""
        if self.cache is not None and 0 <= index < len(self.cache):
            pixels = self.cache[index]
            if pixels is not None:
                return pixels
        return self.load(self.data_source[index].impath)

    def load(self, path: str) -> Tensor:
        """Read a file, in the form that is cached: uint8, (3, height, width)."""
        pixels = read_tensor(path)
        if self.cut_by is not None:
            return self.cut_by.cut(pixels)
        if 0 < self.short_side < min(pixels.shape[1:]):
            kit = choose_kit(self.cfg)
            return kit.T.Resize(self.short_side, interpolation=kit.mode, antialias=True)(pixels)
        return pixels

    def open_cache(self) -> None:
        """Open or make the cache, if it is switched on. Call it before workers start, so that they share it."""
        if not self._cache_wanted:
            return
        loaders = self.cfg.DATALOADER
        rule = "whole images"
        if self.cut_by is not None:
            rule = self.cut_by.rule
        elif self.short_side:
            rule = f"{self.cfg.INPUT.INTERPOLATION}; smaller edge at most {self.short_side}"
        paths = [item.impath for item in self.data_source]
        folder = loaders.CACHE_DIR or _default_folder()
        self.cache = open_cache(folder, loaders.CACHE_BYTES, paths, rule, self.load, loaders.NUM_WORKERS)
        # Once: what could not be written in one epoch is not tried in the next.
        self._cache_wanted = False


def _default_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dassl" / "images"
