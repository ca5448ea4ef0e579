"""The tables: one for each ablation, and one of the directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from caspl.protocols.ablations import Ablation, Claim
from caspl.results.ablations.collected import Groups
from caspl.results.ablations.verdict import judge, papers
from caspl.results.base_new import figures, seeds
from caspl.results.collect import Group
from caspl.results.paper_figures import ablation_measure
from caspl.results.tables import MISSING, Cell, Figure, Table

NOTE = (
    "Directions: means over seeds (of the HM: of the HMs of the single seeds), ± the sample standard deviation of the "
    "seeds' differences. agree, differ: the mean is larger than that, for or against the claim."
)


def table(ablation: Ablation, groups: Groups) -> Table:
    """Base, new and HM of every setting; where both phases vary, a grid of HM."""
    of = next((group.dataset for group in groups.values()), "")
    title = f"{ablation.name}, average of {of}" if of.endswith("data sets") else ablation.name
    if of and title == ablation.name and len(ablation.datasets) > 1:
        title = f"{ablation.name}, {of}"
    if not ablation.values:
        rows = [[name, *_row(groups.get(name))] for name in ablation.settings]
        return Table(title, [ablation.name, "base", "new", "HM", "seeds"], rows)
    values = ablation.values
    grid: list[list[Cell]] = [[one, *(_harmonic(groups.get(f"{one}+{other}")) for other in values)] for one in values]
    return Table(f"{title}: HM, boosting in rows, adapting in columns", ["boosting", *values], grid)


def directions(ablations: Sequence[Ablation], found: Mapping[str, Groups]) -> Table:
    """One row a claim: the paper's figures, ours, and the verdict."""
    pairs = [(claim, found[one.name], _is_whole(one, found[one.name])) for one in ablations for claim in one.claims]
    rows = [_direction(*pair) for pair in pairs]
    return Table("directions", ["claim", "of", "paper", "here", "difference", "verdict"], rows)


def _is_whole(ablation: Ablation, groups: Groups) -> bool:
    """Whether all data sets are there; the paper's figures would mislead beside some of them."""
    count = len(ablation.datasets)
    return count == 1 or all(group.dataset == f"{count} data sets" for group in groups.values())


def _direction(claim: Claim, groups: Groups, whole: bool) -> list[Cell]:
    found, paper = judge(claim, groups), papers(claim) if whole else None
    rival = f" ({found.rival})" if found.rival else ""
    here = MISSING if found.above is None else f"{found.below:.2f}{rival} to {found.above:.2f}"
    measure = ablation_measure(claim.ablation)
    unit = "" if measure == "hm" else f" ({measure})"
    there = MISSING if paper is None else f"{paper[1]:.2f} to {paper[0]:.2f}{unit}"
    gap = found.difference
    difference = Figure(None) if gap is None else Figure(gap.mean, gap.spread, signed=True)
    return [claim.text, claim.measure.replace("hm", "HM"), there, here, difference, found.word]


def _row(group: Group | None) -> list[Cell]:
    return [*[Figure(None)] * 3, MISSING] if group is None else [*figures(group), seeds(group)]


def _harmonic(group: Group | None) -> Figure:
    return Figure(None) if group is None else figures(group)[2]
