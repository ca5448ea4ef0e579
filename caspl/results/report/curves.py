"""Few-shot curves: a small plot a table, with the spread over seeds as a band and the paper's figures as crosses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from caspl.results.report.drawing import Drawing
from caspl.results.report.methods import UNTRAINED, Look, drawing, is_gain, name, number
from caspl.results.report.plot import figure, label
from caspl.results.tables import Table

ALL = "all images"


def draw(tables: Sequence[Table], shown: Mapping[str, Look]) -> list[Drawing]:
    """A plot of each table of :func:`caspl.results.all_classes.few_shot`."""
    return [_draw(table, shown, f"shots{place}") for place, table in enumerate(tables)]


def places(columns: Sequence[str]) -> dict[str, float]:
    """Where on the axis each number of shots stands: by its logarithm; all images a step behind."""
    counts = {one: one.partition(" ")[0] for one in columns if one.endswith((" shot", " shots"))}
    shots = {one: math.log2(int(count)) for one, count in counts.items() if count.isdecimal()}
    return shots | ({ALL: max(shots.values(), default=-1) + 1} if ALL in columns else {})


def _draw(table: Table, shown: Mapping[str, Look], prefix: str) -> Drawing:
    drawn = figure(2.9, 2.25)
    axes = drawn.add_subplot()
    at = places(table.columns)
    for row in table.rows:
        if is_gain(row):
            continue
        look = shown[name(table, row)]
        found = {x: cell for column, x in at.items() if (cell := number(table, row, column)).value is not None}
        values = [cell.value or 0.0 for cell in found.values()]
        flat = look.colour == UNTRAINED and len(set(values)) == 1
        axes.plot(list(found), values, **(look.line() | ({"marker": ""} if flat else {})))
        if any(cell.spread for cell in found.values()):
            low = [value - (cell.spread or 0.0) for value, cell in zip(values, found.values(), strict=True)]
            high = [value + (cell.spread or 0.0) for value, cell in zip(values, found.values(), strict=True)]
            axes.fill_between(list(found), low, high, color=look.colour, alpha=0.14, linewidth=0)
        paper = {
            x: cell.value
            for column, x in at.items()
            if (cell := number(table, row, f"paper {column}")).value is not None
        }
        axes.plot(list(paper), list(paper.values()), color=look.colour, marker="x", linestyle="none", markersize=3.6)
    axes.set_title(label(table.title))
    axes.set_xticks(list(at.values()), [column.split()[0] for column in at])
    axes.set(xlabel="images a class", ylabel="accuracy (%)")
    axes.grid(True)
    says = f"Accuracy by images a class: {table.title}. All figures are in the table of the same name."
    return drawing(table.title, drawn, prefix, says)
