"""Runs for the page's last part: those that differ in seed and tested classes alone stand together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from caspl.results import order
from caspl.results.all_classes import shots_name
from caspl.results.collect import Group as Methods
from caspl.results.confusion import FILE_NAME as CONFUSION
from caspl.results.report import matrix, training
from caspl.results.report.drawing import Drawing
from caspl.results.report.methods import drawing
from caspl.results.report.parts import command
from caspl.results.report.plot import INK, style
from caspl.results.report.runs import Run, beside

WORST = 8
PAIRS = 5


@dataclass(frozen=True)
class Detail:
    """A run with its picture and its worst classes."""

    run: Run
    anchor: str
    confusion: Drawing | None
    draws: str
    pairs: list[tuple[str, str, int, int]]
    worst: list[dict[str, str]]


@dataclass(frozen=True)
class Group:
    """Runs of one method on one data set."""

    title: str
    training: Drawing | None
    details: list[Detail]


def groups(runs: Sequence[Run], folder: str) -> list[Group]:
    """In the order of data sets and methods."""
    together: dict[str, list[Run]] = {}
    names = order.named({run.record.dataset for run in runs})
    for run in sorted(runs, key=lambda run: (names.index(run.record.dataset), _order_of(run))):
        together.setdefault(title(run), []).append(run)
    places = {run.place: f"run{number}" for number, run in enumerate(run for of in together.values() for run in of)}
    with style(INK):
        drawn = {one.title: one for one in training.draw(together)}
        return [
            Group(name, drawn.get(name), [_detail(run, places[run.place], folder) for run in sorted(of, key=_order)])
            for name, of in together.items()
        ]


def title(run: Run) -> str:
    """What a group of runs has in common."""
    record = run.record
    config = f" ({record.config})" if record.config else ""
    part = f", {record.protocol}" if record.protocol else ""
    return f"{record.dataset}: {record.trainer}{config}, {shots_name(record.shots)}{part}"


def _order_of(run: Run) -> tuple[int, str, int, bool, str]:
    """Where its method stands in tables."""
    record = run.record
    return order.sort_key(Methods(record.dataset, record.trainer, record.config, record.shots))


def _order(run: Run) -> tuple[int, str, str]:
    return run.record.seed, run.record.classes, run.place


def _detail(run: Run, anchor: str, folder: str) -> Detail:
    confusion, drawn = run.confusion, None
    if confusion is not None:
        told = "; ".join(f"{name} taken for {other}, {times}" for name, other, times, _ in confusion.pairs(3))
        says = f"Confusion matrix of {len(confusion.names)} classes. Most frequent errors: {told or 'none'}."
        drawn = drawing(f"{run.place}: answers to each class", matrix.draw(confusion), anchor, says)
    path = PurePosixPath(folder, run.place)
    draws = command("confusion", str(beside(path, CONFUSION)), "-o", "confusion.svg")
    pairs = confusion.pairs(PAIRS) if confusion else []
    return Detail(run, anchor, drawn, draws, pairs, _worst(run.classes))


def _worst(classes: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The classes of least accuracy, of those that have images and errors."""

    def accuracy(row: dict[str, str]) -> float:
        try:
            return float(row["accuracy"])
        except (KeyError, ValueError):  # a class without images, or another's file
            return 100.0

    return sorted((row for row in classes if accuracy(row) < 100.0), key=accuracy)[:WORST]
