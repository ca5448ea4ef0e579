"""Few-shot sampling. The order of the draws is what makes a seed mean the same sample everywhere."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from ...utils.logger import logger

__all__ = ["group_by", "sample_shots"]


class Labelled(Protocol):
    """What can be sampled by class."""

    @property
    def label(self) -> int:
        """Class number."""


T = TypeVar("T")
L = TypeVar("L", bound=Labelled)


def group_by(items: Iterable[T], key: Callable[[T], int]) -> dict[int, list[T]]:
    """Group items by a key; groups come in order of first appearance, items keep their order."""
    groups: dict[int, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


def sample_shots(sources: Sequence[list[L]], num_shots: int, repeat: bool) -> Sequence[list[L]]:
    """Draw up to ``num_shots`` images of each class of each list from Python's global generator.

    Args:
        sources: lists of images, sampled one after another.
        num_shots: images a class; below 1 returns ``sources``.
        repeat: draw with replacement from a class that has fewer; otherwise all of it is taken.
    """
    if num_shots < 1:
        return sources
    logger.info("Creating a %d-shot dataset", num_shots)
    return [_sample(source, num_shots, repeat) for source in sources]


def _sample(source: list[L], num_shots: int, repeat: bool) -> list[L]:
    sample: list[L] = []
    for group in group_by(source, lambda item: item.label).values():
        if len(group) >= num_shots:
            # Also when the group has exactly that many: the draw shuffles it.
            sample.extend(random.sample(group, num_shots))
        elif repeat:
            sample.extend(random.choices(group, k=num_shots))
        else:
            sample.extend(group)
    return sample
