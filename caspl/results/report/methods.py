"""What each method looks like in all pictures: X and CasPL_X have one colour, X is dashed and hollow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from caspl.results.order import PREFIX
from caspl.results.report.drawing import Drawing, Key
from caspl.results.report.plot import figure, inline
from caspl.results.tables import Cell, Table
from caspl.results.tables import Figure as Number

# Dark enough for a white page, light enough for a dark one; told apart also with weak red or green.
COLOURS = ("#3b82c4", "#d9622b", "#2f9e63", "#b8498f", "#8a63d2", "#9a7b1a", "#1e9aa8", "#c4473b", "#5f7f2f")
UNTRAINED = "#858585"
MARKS = ("o", "s", "^", "D", "v", "P", "X", "p", "*")
SCALE = 1.45  # pixels of a point
MOST = 3
"""Configs of a method that a picture can hold."""


@dataclass(frozen=True)
class Look:
    """Of one method with one config."""

    colour: str
    mark: str
    cascade: bool

    def line(self) -> dict[str, Any]:
        """Arguments of ``Axes.plot`` and ``Axes.errorbar``."""
        filled = self.colour if self.cascade else "none"
        dashes = "-" if self.cascade else (0, (3.5, 1.8))
        return {"color": self.colour, "marker": self.mark, "markerfacecolor": filled, "linestyle": dashes}


def name(table: Table, row: Sequence[Cell]) -> str:
    """A row's method, with config and shots where the table has them."""
    more = [str(row[place]) for place, column in enumerate(table.columns) if column in ("config", "shots")]
    return f"{row[0]} ({', '.join(more)})" if more else str(row[0])


def number(table: Table, row: Sequence[Cell], column: str) -> Number:
    """The figure in a column; one that is missing where there is no such column, or words in it."""
    cell = dict(zip(table.columns, row, strict=True)).get(column)
    return cell if isinstance(cell, Number) else Number(None)


def is_gain(row: Sequence[Cell]) -> bool:
    """Whether a row holds the differences of a CasPL_X and its X."""
    return (
        f"{row[0]}".startswith(PREFIX)
        and " - " in f"{row[0]}"
        and any(isinstance(cell, Number) and cell.signed for cell in row)
    )


def drawable(table: Table) -> Table:
    """The table with one config of a method that has more than a picture can hold, the first; gains stay."""
    columns = list(table.columns)
    if "config" not in columns:
        return table
    configs: dict[str, list[Cell]] = {}
    for row in table.rows:
        configs.setdefault(str(row[0]), []).append(row[columns.index("config")])

    def is_kept(row: Sequence[Cell]) -> bool:
        own = configs[str(row[0])]
        return is_gain(row) or len(own) <= MOST or row[columns.index("config")] == own[0]

    return Table(table.title, columns, [row for row in table.rows if is_kept(row)])


def looks(tables: Iterable[Table]) -> dict[str, Look]:
    """A look for each method of these tables, in their order."""
    names = {name(table, row): str(row[0]) for table in tables for row in table.rows if not is_gain(row)}
    plain = list(dict.fromkeys(one.removeprefix(PREFIX) for one in names.values()))
    trained = [one for one in plain if not one.startswith("Zeroshot")]
    made: dict[str, Look] = {}
    seen: dict[str, int] = {}
    for shown, trainer in names.items():
        method = trainer.removeprefix(PREFIX)
        place = trained.index(method) if method in trained else 0
        colour = COLOURS[place % len(COLOURS)] if method in trained else UNTRAINED
        # A second config has the next mark.
        mark = MARKS[(place + seen.get(trainer, 0)) % len(MARKS)]
        seen[trainer] = seen.get(trainer, 0) + 1
        made[shown] = Look(colour, mark, trainer.startswith(PREFIX))
    return made


def legend(shown: dict[str, Look], prefix: str) -> list[Key]:
    """One entry a method."""
    made = []
    for place, (method, look) in enumerate(shown.items()):
        drawn = figure(0.42, 0.14, fitted=False)
        axes = drawn.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.plot([0.05, 0.5, 0.95], [0.5] * 3, markevery=[1], **look.line())
        made.append(Key(method, inline(drawn, f"{prefix}-k{place}")))
    return made


def drawing(title: str, drawn: Any, prefix: str, says: str) -> Drawing:
    """A picture of the page's."""
    svg = inline(drawn, prefix)
    # What is drawn may be wider than what was planned; letters are of one size in all pictures.
    width = float(svg.partition('viewBox="')[2].split()[2])
    return Drawing(title, svg, says, round(SCALE * width))
