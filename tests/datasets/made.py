"""Splits and draws for tests of the protocol, without images."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable

from caspl.data import Entry, Split

NAMES = ("ant", "bee", "cow", "dog", "elk")


def entries(labels: Iterable[int], prefix: str = "") -> list[Entry]:
    """One entry for each label; the file name tells its position."""
    return [Entry(f"{NAMES[label]}/{prefix}{index}.jpg", label, NAMES[label]) for index, label in enumerate(labels)]


def made_split(classes: int = 3, train: int = 10, val: int = 5, test: int = 2) -> Split:
    """A split in which the classes take turns."""
    return Split(
        entries([index % classes for index in range(classes * train)]),
        entries([index % classes for index in range(classes * val)], "v"),
        entries([index % classes for index in range(classes * test)], "t"),
    )


def positions(sample: Iterable[Entry]) -> list[int]:
    """The positions in the list that was sampled."""
    return [int(entry.path.rpartition("/")[2].strip("vt.jpg")) for entry in sample]


def draw(items: list[Entry], shots: int) -> list[Entry]:
    """What the engine's sampler does; of small classes it takes all."""
    groups: dict[int, list[Entry]] = defaultdict(list)
    for item in items:
        groups[item.label].append(item)
    return [item for group in groups.values() for item in random.sample(group, min(shots, len(group)))]
