"""Write the drawn data sets to disk: `tinysat`, the target domain, and `tinyworld`, the general world."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from caspl.tiny import shapes, world
from caspl.tiny.domain import CLASSNAMES, SPLITS, render
from caspl.tiny.picture_folder import Pictures, write_once

VERSION = 1
"""Of the drawing; raised whenever the pictures of a seed change."""
WORLD_VERSION = 1
WORLD_SEED = 2  # not the one of pre-training: the same world, but no picture that the models know
WORLD_SPLITS: dict[str, int] = {"train": 2000, "val": 500, "test": 500}
"""Images of each split: for training as many as `tinysat` has."""


def write(root: str | Path, seed: int = 1) -> Path:
    """Make sure that `<root>/tinysat` holds the target domain (see `write_once`); returns that folder.

    Args:
        root: folder of all data sets.
        seed: of the pictures; the benchmark's figures are for seed 1.
    """
    return write_once(root, "tinysat", VERSION, seed, _domain)


def write_world(root: str | Path) -> Path:
    """Make sure that `<root>/tinyworld` holds pictures of the general world; returns that folder.

    The classes are the structures.
    """
    return write_once(root, "tinyworld", WORLD_VERSION, WORLD_SEED, _world)


# One stream of random numbers a split: its pictures do not depend on the size of the others.


def _domain(seed: int) -> Mapping[str, Pictures]:
    return {part: _domain_part(part, count, (seed, number)) for number, (part, count) in enumerate(SPLITS.items())}


def _domain_part(part: str, count: int, key: tuple[int, int]) -> Pictures:
    labels = np.repeat(np.arange(len(CLASSNAMES)), count)
    for index, (label, picture) in enumerate(
        zip(labels.tolist(), render(np.random.default_rng(key), labels), strict=True)
    ):
        name = CLASSNAMES[label]
        yield picture, f"{name.replace(' ', '_')}/{part}_{index % count:03d}.png", label, name


def _world(seed: int) -> Mapping[str, Pictures]:
    return {part: _world_part(part, count, (seed, n)) for n, (part, count) in enumerate(WORLD_SPLITS.items())}


def _world_part(part: str, count: int, key: tuple[int, int]) -> Pictures:
    rng = np.random.default_rng(key)
    scenes = world.sample(rng, count)
    images = (picture for some in scenes.parts(100) for picture in world.render(rng, some))
    for index, (label, picture) in enumerate(zip(scenes.shape.tolist(), images, strict=True)):
        yield picture, f"{shapes.NAMES[label]}/{part}_{index:04d}.png", label, shapes.NAMES[label]
