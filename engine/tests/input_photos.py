"""Pictures with the soft and the sharp of photographs, and loaders over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from dassl.config import get_cfg_default
from dassl.data.data_manager import build_data_loader
from dassl.data.datasets import Datum
from dassl.data.transforms import build_transform

CROP = ("random_resized_crop", "random_flip", "normalize")


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Soft blobs, sharp edges, a little noise."""
    rng = np.random.default_rng(seed)
    blobs = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height), 3)
    pixels = np.asarray(blobs, dtype=np.float64)
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.where((columns * 3 + rows * 5)[..., None] // 40 % 3 == 0, 255 - pixels, pixels)
    return Image.fromarray((pixels + rng.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8))


def photos(folder: Path, sizes: list[tuple[int, int]]) -> list[Datum]:
    """Write a JPEG of each (width, height); labels count up to 3, domains to 2."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number, size in enumerate(sizes):
        path = folder / f"{number}.jpg"
        photo(*size, seed=number).save(path, quality=92)
        items.append(Datum(str(path), label=number % 3, domain=number % 2))
    return items


def input_cfg(backend: str, **settings: Any) -> CfgNode:
    """The published input settings at 32 pixels; ``__`` in names stands for the dot."""
    cfg = get_cfg_default()
    cfg.SEED = 1
    cfg.USE_CUDA = False
    cfg.INPUT.BACKEND = backend
    cfg.INPUT.SIZE = (32, 32)
    cfg.INPUT.INTERPOLATION = "bicubic"
    cfg.INPUT.TRANSFORMS = CROP
    cfg.DATALOADER.NUM_WORKERS = 0
    for key, value in settings.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    return cfg


def loader(
    cfg: CfgNode, items: list[Datum], train: bool = True, sampler: str = "RandomSampler", **options: Any
) -> DataLoader[dict[str, Any]]:
    """Batches of 4 of the configured transform."""
    return build_data_loader(
        cfg, sampler, items, batch_size=4, tfm=build_transform(cfg, is_train=train), is_train=train, **options
    )
