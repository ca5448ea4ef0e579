"""Which of several settings of a method is best on validation images, and what it reaches on test images.

Nothing is chosen on test images: they are looked at for the settings that validation has chosen, and for all others
beside them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from caspl.results import all_classes, order
from caspl.results.collect import Group, base_to_new, one_each, summarize
from caspl.results.figures import BySeed, figure, mean_by_seed
from caspl.results.record import RunRecord
from caspl.results.tables import Cell, Figure, Table

NOTE = (
    "chosen: of each method the setting with the highest accuracy on the validation images of the trained classes, "
    "mean over the seeds that all of its settings have. ±: sample standard deviation over seeds."
)
MARK, YES = "chosen", "yes"
MEASURES = ("test", "base", "new", "HM")


@dataclass
class Row(all_classes.Row):
    """A method with one of its settings, in one protocol; its cells are figures of tests."""

    protocol: str = ""
    validation: BySeed = field(default_factory=dict)

    @property
    def method(self) -> tuple[str, str, int, str]:
        """What its settings are settings of."""
        return self.dataset, self.trainer, self.shots, self.protocol


def tables(records: Iterable[RunRecord]) -> list[Table]:
    """A table for each data set on which a method was validated with several settings, then one of what was chosen."""
    rows = [row for row in _rows(list(records)) if row.validation]
    by_method: dict[tuple[str, str, int, str], list[Row]] = {}
    for row in rows:
        by_method.setdefault(row.method, []).append(row)
    compared = {key: some for key, some in by_method.items() if len(some) > 1}
    if not compared:
        return []
    chosen = {key: best(some) for key, some in compared.items()}
    measured = dict.fromkeys(name for some in compared.values() for row in some for name in row.cells)
    measures = [name for name in MEASURES if name in measured or (name == "HM" and "base" in measured)]
    shots = len({number for _, _, number, _ in compared}) > 1
    protocols = len({name for *_, name in compared}) > 1
    columns = ["method", "config", *["shots"] * shots, "validation", *measures, "seeds", MARK]
    made = []
    names = order.named({key[0] for key in compared})
    places = [(name, of) for name in names for of in sorted({key[3] for key in compared if key[0] == name})]
    for dataset, protocol in places:
        some = [row for row in rows if (row.dataset, row.protocol) == (dataset, protocol)]
        here = sorted((row for row in some if row.method in compared), key=order.sort_key)
        marked = [row is chosen[row.method] for row in here]
        lines = [_line(row, measures, shots, YES * mark) for row, mark in zip(here, marked, strict=True)]
        made.append(Table(f"{dataset}, {protocol}" if protocols else dataset, columns, lines))
    winners = sorted((row for row in chosen.values() if row is not None), key=order.sort_key)
    if len(made) > 1 and not protocols:
        made.append(Table("average of what is chosen", columns, _averages(winners, measures, shots, len(made))))
    return made


def best(rows: Sequence[Row]) -> Row | None:
    """The setting with the highest mean over the seeds that all have; of equal ones the first. None without a seed."""
    seeds = set.intersection(*(set(row.validation) for row in rows))
    if not seeds:
        return None
    return max(rows, key=lambda row: statistics.fmean(row.validation[seed] for seed in seeds))


def _rows(records: Sequence[RunRecord]) -> list[Row]:
    validated = (record for record in records if "accuracy" in _validation(record))
    found: dict[tuple[str, str, str, int, str], Row] = {}
    for key, record in one_each(validated, lambda record: record.protocol).items():
        dataset, trainer, config, shots, seed, protocol = key
        own = (dataset, trainer, config, shots, protocol)
        row = found.setdefault(own, Row(dataset, trainer, config, shots, protocol=protocol))
        row.validation[seed] = _validation(record)["accuracy"]
        if record.classes == "all":
            row.cells.setdefault("test", {})[seed] = record.metrics["accuracy"]
    for group in base_to_new(records):
        row_of = found.get((group.dataset, group.trainer, group.config, group.shots, "base2new"))
        if row_of is not None:
            row_of.cells |= {"base": group.base, "new": group.new}
    return list(found.values())


def _validation(record: RunRecord) -> Mapping[str, float]:
    """Of a training's own record."""
    told = record.extra.get("validation")
    if record.tested or not isinstance(told, Mapping):
        return {}
    return {name.removeprefix("val_"): value for name, value in told.items() if isinstance(value, (int, float))}


def _line(row: Row, measures: Sequence[str], shots: bool, mark: str) -> list[Cell]:
    halves = Group(row.dataset, row.trainer, row.config, row.shots, row.cells.get("base", {}), row.cells.get("new", {}))
    told = {name: summarize(part) for name, part in row.cells.items()} | {"HM": halves.harmonic}
    figures: list[Figure] = [figure(summarize(row.validation)), *(figure(told.get(name)) for name in measures)]
    return [row.trainer, row.config, *[str(row.shots)] * shots, *figures, str(len(row.validation)), mark]


def _averages(winners: Sequence[Row], measures: Sequence[str], shots: bool, count: int) -> list[list[Cell]]:
    """The mean over data sets of each method's chosen settings; of a method that has one on all of them."""
    lines = []
    for trainer, number in dict.fromkeys((row.trainer, row.shots) for row in winners):
        own = [row for row in winners if (row.trainer, row.shots) == (trainer, number)]
        if len(own) == count:
            names = dict.fromkeys(name for row in own for name in row.cells)
            tests = {name: mean_by_seed([row.cells.get(name, {}) for row in own]) for name in names}
            validation = mean_by_seed([row.validation for row in own])
            config = order.common(row.config for row in own)
            lines.append(
                _line(Row("average", trainer, config, number, tests, validation=validation), measures, shots, YES)
            )
    return lines
