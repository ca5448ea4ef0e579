"""Whether a claim holds here, by one rule.

Runs are compared seed by seed, over the seeds that all of them have. The claim is confirmed (``agree``) or
contradicted (``differ``) if the mean of these differences is larger than their sample standard deviation; otherwise
they lie ``within the spread``. From one seed there is no verdict.

The HM of a side is the mean of the HMs of its seeds, which is close to, but not, the HM of its mean accuracies.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from caspl.protocols.ablations import Claim
from caspl.results.ablations.collected import Groups
from caspl.results.collect import Group, Summary, summarize
from caspl.results.paper_figures import ablation_figure
from caspl.results.tables import MISSING

BySeed = dict[int, float]


@dataclass(frozen=True)
class Verdict:
    """Both sides of a claim.

    Attributes:
        above, below: mean over the common seeds; None where runs are missing.
        rival: the best of several that were compared with; else empty.
        difference: of the seeds, above minus below; None where runs are missing.
        word: agree, differ, within the spread, one seed, or "-" where runs are missing.
    """

    above: float | None
    below: float | None
    rival: str
    difference: Summary | None
    word: str


def judge(claim: Claim, groups: Groups) -> Verdict:
    """The verdict on a claim, from the runs of its ablation."""
    values = {name: _by_seed(groups.get(name), claim.measure) for name in (claim.above, *claim.below)}
    seeds = sorted(set.intersection(*(set(part) for part in values.values())))
    if not seeds:
        return Verdict(None, None, "", None, MISSING)
    others, rival = claim.below, ""
    if claim.best:
        rival = max(claim.below, key=lambda name: statistics.fmean(values[name][seed] for seed in seeds))
        others = (rival,)
    below = {seed: statistics.fmean(values[name][seed] for name in others) for seed in seeds}
    above = {seed: values[claim.above][seed] for seed in seeds}
    difference = summarize({seed: above[seed] - below[seed] for seed in seeds})
    return Verdict(
        statistics.fmean(above.values()), statistics.fmean(below.values()), rival, difference, _word(difference)
    )


def papers(claim: Claim) -> tuple[float, float] | None:
    """The paper's figures of both sides; None where it gives words alone."""
    above, *below = claim.paper or (claim.above, *claim.below)
    figures = [ablation_figure(claim.ablation, name) for name in (above, *below)]
    known = [figure for figure in figures if figure is not None]
    if claim.best or claim.measure != "hm" or len(known) < len(figures):
        return None
    return known[0], statistics.fmean(known[1:])


def _word(difference: Summary | None) -> str:
    if difference is None:
        return MISSING
    if difference.spread is None:
        return "one seed"
    if abs(difference.mean) <= difference.spread:
        return "within the spread"
    return "agree" if difference.mean > 0 else "differ"


def _by_seed(group: Group | None, measure: str) -> BySeed:
    return {} if group is None else {"base": group.base, "new": group.new, "hm": group.hm}[measure]
