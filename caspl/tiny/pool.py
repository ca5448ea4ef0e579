"""A pool of pictures and captions of the general world, rendered once and drawn from during pre-training."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from caspl.files import write_atomically
from caspl.tiny import captions, world
from caspl.tiny.vocabulary import compact, known_ids

CHUNK = 1000
CAPTIONS = 2
"""Captions of a picture; training draws one of them."""


class Pool(NamedTuple):
    """Arrays whose first axis is the picture.

    Args:
        images: (n, SIDE, SIDE, 3) uint8.
        ids: (n, CAPTIONS, LONGEST) uint8, compact token ids.
        told: (n, CAPTIONS) bool, whether the caption tells the ground.
        labels: (n, 3) uint8: structure, colour, ground.
    """

    images: np.ndarray
    ids: np.ndarray
    told: np.ndarray
    labels: np.ndarray


def _chunk(key: tuple[int, int]) -> Pool:
    rng = np.random.default_rng(key)
    scenes = world.sample(rng, CHUNK)
    images = np.concatenate([world.render(rng, part) for part in scenes.parts(100)])
    known = known_ids()
    written = [captions.captions(rng, scenes) for _ in range(CAPTIONS)]
    ids = np.stack([compact(texts, known).numpy() for texts, _ in written], axis=1)
    labels = np.stack([scenes.shape, scenes.colour, scenes.ground], axis=1).astype(np.uint8)
    return Pool(images, ids, np.stack([told for _, told in written], axis=1), labels)


def build(pictures: int, seed: int) -> Pool:
    """Render a pool; the same seed gives the same pool on any number of cores."""
    keys = [(seed, number) for number in range(-(-pictures // CHUNK))]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as workers:
        chunks = list(tqdm(workers.imap(_chunk, keys), total=len(keys), desc="rendering", unit="k"))
    return Pool(*(np.concatenate(parts) for parts in zip(*chunks, strict=True)))


def open_or_build(path: Path, pictures: int, seed: int) -> Pool:
    """Read the pool kept at `path`, or build it and keep it there."""
    if not path.exists():
        pool = build(pictures, seed)

        def write(temporary: str) -> None:
            with open(temporary, "wb") as file:
                np.savez(file, **pool._asdict())

        write_atomically(path, write)
        return pool
    with np.load(path) as kept:
        return Pool(**kept)
