"""Views of tests on all classes: few-shot curves, and what is trained on one data set and tested on others.

A row is a method with its config, a column a number of shots or a data set. An average is over the columns, or data
sets, that its name says, and missing where one of them is: nothing is averaged away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from caspl.errors import CasPLError
from caspl.protocols.protocol import Choice, read_protocol
from caspl.results import order, paper_figures
from caspl.results.collect import is_zero_shot, one_each, summarize
from caspl.results.figures import BySeed, difference, figure, gain, mean_by_seed
from caspl.results.paper_figures import dataset_key
from caspl.results.record import RunRecord
from caspl.results.tables import MISSING, Cell, Figure, Table

NOTE = "±: sample standard deviation over seeds (of a difference: over the seeds' differences)."
SHIFTS = {
    "ImageNet": ("ImageNetV2", "ImageNetSketch", "ImageNetR"),
    "TinySat": ("TinySatV2", "TinySatSketch", "TinySatR"),
}
"""Those that an average is over, by what was trained on; ImageNet-A has a column of its own, as in the paper."""
ALL_SHIFTS = frozenset(("ImageNetA", *(name for names in SHIFTS.values() for name in names)))
AVERAGE = "average"
TRANSFERS = ("cross_dataset", "domain_generalization")
"""Protocols whose trainings are no few-shot runs: their settings are others."""
BY_SHOTS = "by shots"
"""The config of a row whose settings follow the number of shots."""


@dataclass
class Row:
    """Tests of one method, trained on a data set; ``cells`` maps a column to accuracies in percent by seed."""

    dataset: str
    trainer: str
    config: str
    shots: int
    cells: dict[str, BySeed] = field(default_factory=dict)


def few_shot(records: Iterable[RunRecord], paper: bool = False, difference: bool = False) -> list[Table]:
    """A table a data set, of what was trained on it, with a column for each number of shots; then their average."""
    near = (
        record for record in records if record.protocol not in TRANSFERS and source_of(record) in ("", record.dataset)
    )
    chosen = latest(near)
    shots = sorted({record.shots for record in chosen if not is_zero_shot(record)}, key=_shots_order)
    if not shots:
        return []
    columns = [shots_name(number) for number in shots]
    by_dataset: dict[str, dict[tuple[str, str], Row]] = {}
    for record in chosen:
        rows = by_dataset.setdefault(record.dataset, {})
        row = rows.setdefault((record.trainer, record.config), Row(record.dataset, record.trainer, record.config, 0))
        # What learns nothing from shots is a line across the figure.
        for column in columns if is_zero_shot(record) else [shots_name(record.shots)]:
            row.cells.setdefault(column, {})[record.seed] = _accuracy(record)
    by_dataset = {name: _merged(rows) for name, rows in by_dataset.items()}
    trained = {record.dataset for record in chosen if not is_zero_shot(record)}
    datasets = order.named(name for name in by_dataset if name in trained)
    several = order.several_configs(row for name in datasets for row in by_dataset[name].values())

    def table(title: str, rows: Iterable[Row], dataset: str) -> Table:
        expected = {column: _papers_shots(dataset, column) for column in columns} if paper else {}
        return _table(title, list(rows), columns, expected, difference, several)

    tables = [table(name, by_dataset[name].values(), name) for name in datasets]
    if len(datasets) > 1:
        averages = _average([by_dataset[name] for name in datasets], columns, several)
        # The paper's average is over its eleven data sets; beside any other choice it would mislead.
        whole = {dataset_key(name) for name in datasets} == set(paper_figures.dataset_order())
        tables.append(table(f"average of {len(datasets)} data sets", averages, AVERAGE if whole else ""))
    return tables


def _merged(rows: Mapping[tuple[str, str], Row]) -> dict[tuple[str, str], Row]:
    """One row for a method whose configs at each number of shots are those of the protocol, which vary with it."""
    made: dict[tuple[str, str], Row] = {}
    for trainer in dict.fromkeys(row.trainer for row in rows.values()):
        own = [row for row in rows.values() if row.trainer == trainer]
        columns = [column for row in own for column in row.cells]
        if len(own) == 1 or len(set(columns)) < len(columns) or not all(_by_rule(row) for row in own):
            made |= {(row.trainer, row.config): row for row in own}
        else:
            cells = {column: cell for row in own for column, cell in row.cells.items()}
            made[trainer, BY_SHOTS] = Row(own[0].dataset, trainer, BY_SHOTS, 0, cells)
    return made


def few_shot_note(records: Iterable[RunRecord]) -> str:
    """What is below few-shot tables: also which methods have no published settings there."""
    borrowed = {
        record.trainer
        for record in records
        if record.protocol == "few_shot"
        and (rule := _rule(record.trainer, record.dataset, record.shots)) is not None
        and rule.note
        and rule.config == record.config
    }
    if not borrowed:
        return NOTE
    names = ", ".join(sorted(borrowed))
    return f"{NOTE} No few-shot settings are published for {names}: theirs are those of base to new."


def _rule(trainer: str, dataset: str, shots: int) -> Choice | None:
    """The few-shot protocol's own config; None for a method of somebody's own."""
    try:
        return read_protocol("few_shot").config(trainer, dataset_key(dataset), shots)
    except CasPLError:
        return None


def _by_rule(row: Row) -> bool:
    """Whether a row has the few-shot protocol's own config at each of its numbers of shots."""
    numbers = [int(column.split()[0]) for column in row.cells if column[0].isdigit()]
    rules = [_rule(row.trainer, row.dataset, number) for number in numbers]
    return len(numbers) == len(row.cells) and all(rule is not None and rule.config == row.config for rule in rules)


def transfer(records: Iterable[RunRecord], shifts: bool, paper: bool = False, difference: bool = False) -> list[Table]:
    """A table a source, of what was trained on it and tested on others.

    Args:
        records: of any runs.
        shifts: whether the others are ImageNet's shifts, or all else.
        paper, difference: see :class:`caspl.results.base_new.Options`.
    """
    chosen = latest(record for record in records if record.protocol not in ("few_shot", "base2new"))
    far = {(source_of(record), record.dataset) for record in chosen if source_of(record) not in ("", record.dataset)}
    tables = []
    for source in order.named({source for source, _ in far}):
        found = order.named({name for one, name in far if one == source})
        targets = [name for name in found if (name in ALL_SHIFTS) == shifts]
        if not targets:
            continue
        averaged = list(SHIFTS.get(source, targets)) if shifts else _expected(source, targets)
        rows: dict[tuple[str, str, int], Row] = {}
        for record in chosen:
            if source_of(record) in ("", source) and record.dataset in (source, *targets):
                shots = 0 if is_zero_shot(record) else record.shots
                key = (record.trainer, record.config, shots)
                cells = rows.setdefault(key, Row(source, *key)).cells
                cells.setdefault(record.dataset, {})[record.seed] = _accuracy(record)
        for row in rows.values():
            row.cells[AVERAGE] = mean_by_seed([row.cells.get(name, {}) for name in averaged])
        columns = [source, *averaged, AVERAGE, *(name for name in targets if name not in averaged)]
        published = paper and shifts and source == "ImageNet"
        expected = {column: _papers_shifts(column) for column in columns} if published else {}
        told = [row for row in rows.values() if any(name in row.cells for name in targets)]
        named = ", ".join(averaged) if len(averaged) < 4 else f"{len(averaged)} data sets"
        title = f"trained on {source}, average of {named}"
        tables.append(_table(title, told, columns, expected, difference, order.several_configs(told)))
    return tables


def _expected(source: str, targets: list[str]) -> list[str]:
    """The data sets of a cross-dataset average: from ImageNet the ten of the protocol, else those that there are."""
    if source != "ImageNet":
        return targets
    found = {dataset_key(name): name for name in targets}
    keys = [key for key in paper_figures.dataset_order() if key != "imagenet"]
    more = [name for key, name in found.items() if key not in keys]
    return [found.get(key, key) for key in keys] + more


def _table(
    title: str,
    rows: Sequence[Row],
    columns: Sequence[str],
    expected: Mapping[str, Mapping[str, float]],
    differences: bool,
    several: bool,
) -> Table:
    """Rows by the age of the methods, with their config where a method has several, and the paper's figures behind."""
    shots = len({row.shots for row in rows if row.shots}) > 1
    head = ["method", *["config"] * several, *["shots"] * shots, *columns, "seeds"]
    head += [f"paper {column}" for column in expected]
    lines: list[list[Cell]] = []
    for row in sorted(rows, key=order.sort_key):
        label: list[Cell] = [*[row.config] * several, *[str(row.shots or MISSING)] * shots]
        own = _figures(row, columns)
        counts = sorted({len(cell) for cell in row.cells.values() if cell})
        seeds = "-".join(str(count) for count in dict.fromkeys((counts or [0])[:: max(1, len(counts) - 1)]))
        told = _papers(row, expected)
        lines.append([row.trainer, *label, *own, seeds, *told])
        plain = order.partner(row, rows) if differences else None
        if plain is not None:
            pairs = zip(columns, zip(own, _figures(plain, columns), strict=True), strict=True)
            gains = [gain(pair, row.cells.get(name, {}), plain.cells.get(name, {})) for name, pair in pairs]
            theirs = [difference(*pair) for pair in zip(told, _papers(plain, expected), strict=True)]
            lines.append([f"{row.trainer} - {plain.trainer}", *label, *gains, MISSING, *theirs])
    return Table(title, head, lines)


def _figures(row: Row, columns: Sequence[str]) -> list[Figure]:
    return [figure(summarize(row.cells.get(column, {}))) for column in columns]


def _papers(row: Row, expected: Mapping[str, Mapping[str, float]]) -> list[Figure]:
    return [Figure(found.get(row.trainer)) for found in expected.values()]


def _average(datasets: Sequence[Mapping[tuple[str, str], Row]], columns: Sequence[str], several: bool) -> list[Row]:
    """The mean over data sets, of every method; where there are several configs, of each."""
    found: dict[tuple[str, str], list[Row]] = {}
    for rows in datasets:
        for row in rows.values():
            found.setdefault((row.trainer, row.config if several else ""), []).append(row)
    averages = []
    for (trainer, _), rows_of in found.items():
        made = Row(AVERAGE, trainer, order.common(row.config for row in rows_of), 0)
        for column in columns if len(rows_of) == len(datasets) else ():
            made.cells[column] = mean_by_seed([row.cells.get(column, {}) for row in rows_of])
        averages.append(made)
    return averages


def latest(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Tests of all classes; of two for the same seed the one that finished last."""

    def is_told(record: RunRecord) -> bool:
        unknown = not record.trained_on and record.tested and not is_zero_shot(record)
        return record.classes == "all" and record.protocol != "boosting" and not unknown

    return list(one_each(filter(is_told, records), source_of).values())


def source_of(record: RunRecord) -> str:
    """The data set that the tested tokens have learned from; empty where nothing did, or nothing is known."""
    learned = record.trained_on
    boosting = learned.get("boosting") or {}
    if not learned and not is_zero_shot(record):
        return record.dataset  # of older records
    return str(learned.get("dataset") or boosting.get("dataset") or "")


def _accuracy(record: RunRecord) -> float:
    return record.metrics["accuracy"]


def _shots_order(shots: int) -> float:
    return float("inf") if shots < 1 else shots


def shots_name(shots: int) -> str:
    """In words."""
    return "all images" if shots < 1 else f"{shots} shots" if shots > 1 else "1 shot"


def _papers_shots(dataset: str, column: str) -> dict[str, float]:
    """The paper's figures at a number of shots, by trainer."""
    number = column.partition(" ")[0]
    return {
        trainer: float(row[number])
        for row in paper_figures.rows("few_shot")
        for trainer in [paper_figures.trainer_of(row["method"])]
        if dataset_key(row["dataset"]) == dataset_key(dataset) and row.get(number)
    }


def _papers_shifts(column: str) -> dict[str, float]:
    names = {"ImageNet": "imagenet", "ImageNetV2": "imagenetv2", "ImageNetSketch": "imagenet_sketch"}
    names |= {"ImageNetR": "imagenet_r", AVERAGE: "target_average"}
    key = names.get(column, "")
    rows = paper_figures.rows("domain_generalization")
    return {paper_figures.trainer_of(row["method"]): float(row[key]) for row in rows if row.get(key)}
