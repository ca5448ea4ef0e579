"""What a part of the page is made of: tables, pictures, and the commands that print their figures."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field

from caspl.results.record import RunRecord
from caspl.results.report.drawing import Drawing, Key
from caspl.results.tables import MISSING, Figure, Table

_EMPTY = (MISSING, Figure(None), Figure(None, signed=True))


@dataclass(frozen=True)
class Shown:
    """A table with the command that prints it."""

    table: Table
    command: str


@dataclass(frozen=True)
class Pictures:
    """Pictures of one kind, with what they show and the command that prints their figures."""

    title: str
    text: str
    command: str
    drawings: list[Drawing]
    keys: list[Key] = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    """A part of the page; ``open`` tables are read first, the others on demand."""

    anchor: str
    title: str
    note: str
    seeds: list[int]
    open: list[Shown]
    more: list[Shown]
    pictures: list[Pictures]


def command(*words: str, module: str = "caspl.results") -> str:
    """A line for the shell."""
    return shlex.join(["python", "-m", module, *words])


def seeds_of(records: Iterable[RunRecord]) -> list[int]:
    """Of these records, in order."""
    return sorted({record.seed for record in records})


def trimmed(table: Table) -> Table:
    """Without columns for figures of the paper's where it has none."""
    kept = [
        place
        for place, column in enumerate(table.columns)
        if not column.startswith("paper ") or any(row[place] not in _EMPTY for row in table.rows)
    ]
    rows = [[row[place] for place in kept] for row in table.rows]
    return Table(table.title, [table.columns[place] for place in kept], rows)
