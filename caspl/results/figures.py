"""From accuracies by seed to the figures of a table: means with their spread, and what one gains over another."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from caspl.results.collect import Summary, summarize
from caspl.results.tables import Figure

BySeed = dict[int, float]


def figure(summary: Summary | None) -> Figure:
    """Mean and spread; a missing figure where there is no seed."""
    return Figure(None) if summary is None else Figure(summary.mean, summary.spread)


def difference(of: Figure, to: Figure) -> Figure:
    """One figure less another; missing where one of them is."""
    return Figure(None if of.value is None or to.value is None else of.value - to.value, signed=True)


def gain(figures: tuple[Figure, Figure], of: BySeed, to: BySeed) -> Figure:
    """The difference of two figures, with the spread of the seeds' differences where both have the same seeds.

    Args:
        figures: of the one and of the other.
        of, to: the accuracies that they come from.
    """
    paired = summarize({seed: of[seed] - to[seed] for seed in of}) if of.keys() == to.keys() else None
    return replace(difference(*figures), spread=paired.spread if paired else None)


def mean_by_seed(parts: Sequence[BySeed]) -> BySeed:
    """The mean of each seed that all parts have; empty where one of them is."""
    seeds = set.intersection(*(set(part) for part in parts))
    return {seed: statistics.fmean(part[seed] for part in parts) for seed in sorted(seeds)}
