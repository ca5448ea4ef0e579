"""What the differences of pairs tell: their mean and spread, Student's t for pairs, Wilcoxon's signed ranks."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

FEWEST = 6
"""Pairs below which Wilcoxon's test cannot come below 5 %, whatever they are."""
_ROUNDING = 1e-9  # of percentages: what differs by less is the same


@dataclass(frozen=True)
class Paired:
    """Differences of ``count`` pairs; what cannot be said of so few, or of equal ones, is None."""

    count: int
    mean: float
    spread: float | None
    t: float | None
    p: float | None


def t_test(differences: Sequence[float]) -> Paired:
    """Student's two-sided t test for pairs.

    Args:
        differences: one at least.
    """
    spread = statistics.stdev(differences) if len(differences) > 1 else None
    t = p = None
    if spread is not None and spread > _ROUNDING:
        from scipy import stats  # late: tables do without

        found = stats.ttest_1samp(differences, 0.0)
        t, p = float(found.statistic), float(found.pvalue)
    return Paired(len(differences), statistics.fmean(differences), spread, t, p)


def wilcoxon(differences: Sequence[float]) -> float | None:
    """The two-sided p value of Wilcoxon's signed-rank test; None for fewer than ``FEWEST`` pairs that differ."""
    if sum(abs(one) > _ROUNDING for one in differences) < FEWEST:
        return None
    from scipy import stats

    # Ranks of figures that are equal in print must be equal, too.
    rounded = [round(one, 9) for one in differences]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some versions say how they treat ties
        return float(stats.wilcoxon(rounded).pvalue)
