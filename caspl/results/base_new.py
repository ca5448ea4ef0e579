"""The base-to-new view: one table a data set with base, new and HM of every method, and their average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from caspl.results import order, paper_figures
from caspl.results.collect import Group, summarize
from caspl.results.figures import difference, figure, gain, mean_by_seed
from caspl.results.tables import MISSING, Cell, Figure, Table

NOTE = (
    "HM: harmonic mean of the seed-averaged base and new accuracies. "
    "±: sample standard deviation over seeds (of the HM: over the HMs of the single seeds; of a difference: over the "
    "seeds' differences)."
)


@dataclass(frozen=True)
class Options:
    """What the tables show beside the figures of the runs."""

    paper: bool = False
    difference: bool = False
    # Config and shots are always shown in files that programs read; else only where rows would look alike.
    every_column: bool = False


def tables(groups: Sequence[Group], options: Options | None = None) -> list[Table]:
    """A table for each data set, and with several of them one of the averages."""
    options = options or Options()
    names = order.datasets(groups)
    blocks = [(name, name, [group for group in groups if group.dataset == name]) for name in names]
    if len(names) > 1:
        averages = average(groups)
        # The paper's average is over its eleven data sets; beside any other choice it would mislead.
        whole = {paper_figures.dataset_key(name) for name in names} == set(paper_figures.dataset_order())
        if averages:
            blocks.append((f"average of {len(names)} data sets", "average" if whole else "", averages))

    shows_config = options.every_column or order.several_configs(groups)
    shows_shots = options.every_column or len({group.shots for group in groups if group.shots}) > 1
    columns = ["method", *["config"] * shows_config, *["shots"] * shows_shots, "base", "new", "HM", "seeds"]
    columns += ["paper base", "paper new", "paper HM"] * options.paper

    made = []
    for title, paper_name, members in blocks:
        rows: list[list[Cell]] = []
        for group in sorted(members, key=order.sort_key):
            label: list[Cell] = [*[group.config] * shows_config, *[str(group.shots)] * shows_shots]
            own = figures(group)
            paper = _paper(paper_name, group)
            rows.append([group.trainer, *label, *own, seeds(group), *(paper if options.paper else [])])
            plain = order.partner(group, members) if options.difference else None
            if plain is not None:
                gains = _gains(group, plain)
                theirs = zip(paper, _paper(paper_name, plain), strict=True)
                expected = [difference(*pair) for pair in theirs] if options.paper else []
                name = f"{group.trainer} - {plain.trainer}"
                rows.append([name, *label, *gains, MISSING, *expected])
        made.append(Table(title, columns, rows))
    return made


def average(groups: Sequence[Group]) -> list[Group]:
    """Every method's mean over all data sets, seed by seed, over the seeds that each of them has.

    A method that lacks a data set is left out: its average would stand for something else than the others'.
    """
    names = {group.dataset for group in groups}
    several = order.several_configs(groups)
    methods: dict[tuple[str, str, int], list[Group]] = {}
    for group in groups:
        # One config a data set is one method even where the configs have different names.
        methods.setdefault((group.trainer, group.config if several else "", group.shots), []).append(group)
    return [
        Group(
            "average",
            trainer,
            config or order.common(member.config for member in members),
            shots,
            mean_by_seed([member.base for member in members]),
            mean_by_seed([member.new for member in members]),
        )
        for (trainer, config, shots), members in methods.items()
        if {member.dataset for member in members} == names
    ]


def figures(group: Group) -> list[Figure]:
    """Base, new and HM."""
    return [figure(summarize(group.base)), figure(summarize(group.new)), figure(group.harmonic)]


def _gains(group: Group, plain: Group) -> list[Figure]:
    """Differences of base, new and HM."""
    both = zip(figures(group), figures(plain), strict=True)
    parts = ((group.base, plain.base), (group.new, plain.new), (group.hm, plain.hm))
    return [gain(pair, of, to) for pair, (of, to) in zip(both, parts, strict=True)]


def _paper(dataset: str, group: Group) -> list[Figure]:
    at_its_shots = group.shots in (0, paper_figures.SHOTS)
    found = paper_figures.base_to_new(dataset, group.trainer) if dataset and at_its_shots else None
    return [Figure(value) for value in found or (None, None, None)]


def seeds(group: Group) -> str:
    """How many seeds; "base/new" where one side has other seeds than the other."""
    same = group.base.keys() == group.new.keys() or not (group.base and group.new)
    return str(max(len(group.base), len(group.new))) if same else f"{len(group.base)}/{len(group.new)}"
