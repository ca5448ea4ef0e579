"""The tables: one for each ablation, and one of the directions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from caspl.errors import CasPLError
from caspl.results.ablations.claims import CLAIMS, Claim
from caspl.results.ablations.settings import GRIDS, SETTINGS, Run
from caspl.results.ablations.verdict import Groups, judge, papers
from caspl.results.base_new import figures, seeds
from caspl.results.collect import Group, base_to_new
from caspl.results.paper_figures import ablation_measure
from caspl.results.record import RunRecord
from caspl.results.tables import MISSING, Cell, Figure, Table

DATASET = "TinySat"
NOTE = (
    "Directions: means over seeds (of the HM: of the HMs of the single seeds), ± the sample standard deviation of the "
    "seeds' differences. agree, differ: the mean is larger than that, for or against the claim."
)


def runs(records: Iterable[RunRecord]) -> dict[Run, Group]:
    """The runs on the tiny benchmark among these records.

    Raises:
        CasPLError: if they are of several numbers of shots, which no table should mix.
    """
    groups = [group for group in base_to_new(records) if group.dataset == DATASET]
    shots = sorted({group.shots for group in groups if group.shots})
    if len(shots) > 1:
        raise CasPLError(f"there are runs of {' and '.join(map(str, shots))} shots; give each a folder of its own.")
    return {Run(group.trainer, group.config): group for group in groups}


def begun(groups: Groups) -> list[str]:
    """The ablations that have more than the run which most of them share."""
    return [name for name, settings in SETTINGS.items() if len(set(settings.values()) & set(groups)) > 1]


def table(ablation: str, groups: Groups) -> Table:
    """Base, new and HM of every setting; where both phases vary, a grid of HM."""
    settings = SETTINGS[ablation]
    values = GRIDS.get(ablation)
    if values is None:
        rows = [[name, *_row(groups.get(run))] for name, run in settings.items()]
        return Table(ablation, [ablation, "base", "new", "HM", "seeds"], rows)
    grid: list[list[Cell]] = [
        [one, *(_harmonic(groups.get(settings[f"{one}+{other}"])) for other in values)] for one in values
    ]
    title = f"{ablation}: HM, boosting in rows, adapting in columns"
    return Table(title, ["boosting", *values], grid)


def directions(ablations: Sequence[str], groups: Groups) -> Table:
    """One row a claim: the paper's figures, ours, and the verdict."""
    rows = [_direction(claim, groups) for claim in CLAIMS if claim.ablation in ablations]
    return Table("directions", ["claim", "of", "paper", "here", "difference", "verdict"], rows)


def _direction(claim: Claim, groups: Groups) -> list[Cell]:
    found, paper = judge(claim, groups), papers(claim)
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
