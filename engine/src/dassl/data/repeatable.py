"""Random numbers that depend on the seed, the epoch and the image alone: on no worker, batch or earlier epoch.

Where an image comes several times in a pass, they also depend on how often it has come.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
from torch.utils.data import Sampler
from yacs.config import CfgNode

from ..utils.ranks import rank_and_world
from .transforms.kit import on_tensors

__all__ = ["Draw", "RepeatableSampler", "drawing", "drawing_for", "repeats"]


def repeats(cfg: CfgNode) -> bool:
    """Whether a run draws by seed, epoch and image: unless DATALOADER.SEEDED is off and torch's stream can be followed.

    It cannot by several processes, nor where INPUT.BACKEND is "tensor".
    """
    return bool(cfg.DATALOADER.SEEDED) or on_tensors(cfg) or rank_and_world()[1] > 1


class Draw(int):
    """An index that carries the seed for the random numbers of its image; workers get it whole."""

    seed: int

    def __new__(cls, index: int, seed: int = 0) -> Draw:
        draw = super().__new__(cls, index)
        draw.seed = seed
        return draw


class RepeatableSampler(Sampler[int]):
    """Makes the order of any sampler, and the draws for its images, a function of seed, epoch and pass.

    A pass is one iteration. They are counted from the last :meth:`set_epoch`, so that a loader that starts again
    within an epoch goes on to new draws, and a resumed run finds those of its epoch.

    Args:
        sampler: draws from the global generators, or not at all.
        seed: of the run.
        role: tells loaders of a run apart.
    """

    def __init__(self, sampler: Sampler[int], seed: int, role: str = "") -> None:
        self.sampler = sampler
        self.seed = seed
        self.role = role
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Go to the first pass of an epoch."""
        self.epoch = epoch
        self.passes = 0

    def __len__(self) -> int:
        return len(self.sampler)  # type: ignore[arg-type]  # every sampler here has a length

    def __iter__(self) -> Iterator[int]:
        key = (self.seed, self.role, self.epoch, self.passes)
        self.passes += 1
        with drawing(_hash(*key)):
            order = list(self.sampler)
        return _draws(key, order)


def _draws(key: tuple[object, ...], order: list[int]) -> Iterator[Draw]:
    """Give each index its seed; one that comes again in a pass gets another."""
    seen: Counter[int] = Counter()
    for index in order:
        again = (seen[index],) if seen[index] else ()
        seen[index] += 1
        yield Draw(index, _hash(*key, index, *again))


@contextmanager
def drawing(seed: int, only_torch: bool = False) -> Iterator[None]:
    """Seed the global CPU generators inside the block, and leave them afterwards as they were.

    Args:
        seed: from 0 to 2**63 - 1.
        only_torch: leave those of Python and numpy alone, which costs as much as a flip of an image.
    """
    # The generator itself, since torch.manual_seed() reseeds every device too.
    torch_state = torch.default_generator.get_state()
    states = None if only_torch else (random.getstate(), np.random.get_state())
    try:
        torch.default_generator.manual_seed(seed)
        if states is not None:
            random.seed(seed)
            np.random.seed(seed % 2**32)
        yield
    finally:
        torch.default_generator.set_state(torch_state)
        if states is not None:
            random.setstate(states[0])
            np.random.set_state(states[1])


def drawing_for(index: int, only_torch: bool = False) -> AbstractContextManager[None]:
    """Do :func:`drawing` with the seed of a :class:`Draw`; nothing for a plain index."""
    return drawing(index.seed, only_torch) if isinstance(index, Draw) else nullcontext()


def _hash(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big") >> 1
