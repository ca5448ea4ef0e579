"""Write the drawn data sets to disk: the domains, and `tinyworld`, the general world."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from caspl.tiny import shapes, world
from caspl.tiny.domain import TINYSAT, Domain
from caspl.tiny.picture_folder import Pictures, write_once

WORLD_VERSION = 1
WORLD_SEED = 2  # not the one of pre-training: the same world, but no picture that the models know
WORLD_SPLITS: dict[str, int] = {"train": 2000, "val": 500, "test": 500}
"""Images of each split: for training as many as `tinysat` has."""


def write(root: str | Path, seed: int = 1, domain: Domain = TINYSAT) -> Path:
    """Make sure that `<root>/<name>` holds a domain (see `write_once`); returns that folder.

    Args:
        root: folder of all data sets.
        seed: of the pictures; the benchmark's figures are for seed 1.
        domain: which, see :data:`caspl.tiny.domain.DOMAINS`.
    """

    def draw(seed: int) -> Mapping[str, Pictures]:
        return {split: _pictures(domain, split, seed) for split in domain.splits}

    return write_once(root, domain.name, domain.version, seed, draw)


def write_world(root: str | Path) -> Path:
    """Make sure that `<root>/tinyworld` holds pictures of the general world; returns that folder.

    The classes are the structures.
    """
    return write_once(root, "tinyworld", WORLD_VERSION, WORLD_SEED, _world)


def _pictures(domain: Domain, split: str, seed: int) -> Pictures:
    labels, count = domain.labels(split), domain.splits[split]
    drawn = domain.render(domain.rng(split, seed), labels)
    for index, (label, picture) in enumerate(zip(labels.tolist(), drawn, strict=True)):
        name = domain.classnames[label]
        yield picture, f"{name.replace(' ', '_')}/{split}_{index % count:03d}.png", label, name


def _world(seed: int) -> Mapping[str, Pictures]:
    return {part: _world_part(part, count, (seed, n)) for n, (part, count) in enumerate(WORLD_SPLITS.items())}


def _world_part(part: str, count: int, key: tuple[int, int]) -> Pictures:
    rng = np.random.default_rng(key)
    scenes = world.sample(rng, count)
    images = (picture for some in scenes.parts(100) for picture in world.render(rng, some))
    for index, (label, picture) in enumerate(zip(scenes.shape.tolist(), images, strict=True)):
        yield picture, f"{shapes.NAMES[label]}/{part}_{index:04d}.png", label, shapes.NAMES[label]
