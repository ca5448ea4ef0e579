"""The base-to-new view: one table a data set with base, new and HM of every method, and their average."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from caspl.results import order, paper_figures
from caspl.results.collect import Group, Summary, summarize
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

    shows_config = options.every_column or _several_configs(groups)
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
                expected = _differences(paper, _paper(paper_name, plain)) if options.paper else []
                name = f"{group.trainer} - {plain.trainer}"
                rows.append([name, *label, *gains, MISSING, *expected])
        made.append(Table(title, columns, rows))
    return made


def average(groups: Sequence[Group]) -> list[Group]:
    """Every method's mean over all data sets, seed by seed, over the seeds that each of them has.

    A method that lacks a data set is left out: its average would stand for something else than the others'.
    """
    names = {group.dataset for group in groups}
    several = _several_configs(groups)
    methods: dict[tuple[str, str, int], list[Group]] = {}
    for group in groups:
        # One config a data set is one method even where the configs have different names.
        methods.setdefault((group.trainer, group.config if several else "", group.shots), []).append(group)
    return [
        Group(
            "average",
            trainer,
            config or _common(member.config for member in members),
            shots,
            _mean_by_seed([member.base for member in members]),
            _mean_by_seed([member.new for member in members]),
        )
        for (trainer, config, shots), members in methods.items()
        if {member.dataset for member in members} == names
    ]


def _mean_by_seed(parts: Sequence[dict[int, float]]) -> dict[int, float]:
    seeds = set.intersection(*(set(part) for part in parts))
    return {seed: statistics.fmean(part[seed] for part in parts) for seed in sorted(seeds)}


def _common(configs: Iterable[str]) -> str:
    found = set(configs)
    return found.pop() if len(found) == 1 else "several"


def _several_configs(groups: Sequence[Group]) -> bool:
    return any(count > 1 for count in Counter((g.dataset, g.trainer, g.shots) for g in groups).values())


def figures(group: Group) -> list[Figure]:
    """Base, new and HM."""
    return [_figure(summarize(group.base)), _figure(summarize(group.new)), _figure(group.harmonic)]


def _figure(summary: Summary | None) -> Figure:
    return Figure(None) if summary is None else Figure(summary.mean, summary.spread)


def _gains(group: Group, plain: Group) -> list[Figure]:
    """Differences of base, new and HM, with the spread of the seeds' differences where both have the same seeds."""
    pairs = [(group.base, plain.base), (group.new, plain.new), (group.hm, plain.hm)]
    spreads = []
    for of, to in pairs:
        paired = summarize({seed: of[seed] - to[seed] for seed in of}) if of.keys() == to.keys() else None
        spreads.append(paired.spread if paired else None)
    gains = _differences(figures(group), figures(plain))
    return [replace(gain, spread=spread) for gain, spread in zip(gains, spreads, strict=True)]


def _differences(of: Sequence[Figure], to: Sequence[Figure]) -> list[Figure]:
    pairs = [(one.value, other.value) for one, other in zip(of, to, strict=True)]
    return [Figure(None if a is None or b is None else a - b, signed=True) for a, b in pairs]


def _paper(dataset: str, group: Group) -> list[Figure]:
    at_its_shots = group.shots in (0, paper_figures.SHOTS)
    found = paper_figures.base_to_new(dataset, group.trainer) if dataset and at_its_shots else None
    return [Figure(value) for value in found or (None, None, None)]


def seeds(group: Group) -> str:
    """How many seeds; "base/new" where one side has other seeds than the other."""
    same = group.base.keys() == group.new.keys() or not (group.base and group.new)
    return str(max(len(group.base), len(group.new))) if same else f"{len(group.base)}/{len(group.new)}"
