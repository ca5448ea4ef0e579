"""What CasPL_X gains over X, as one bar a data set; the paper's gains as lines across."""

from __future__ import annotations

from collections.abc import Sequence

from caspl.results.report.drawing import Drawing
from caspl.results.report.methods import drawing, is_gain, name, number
from caspl.results.report.plot import INK, figure, label
from caspl.results.tables import Figure as Number
from caspl.results.tables import Table

MORE, LESS = "#2f9e63", "#c4473b"


def draw(tables: Sequence[Table], column: str, prefix: str) -> list[Drawing]:
    """A plot of each method that has a gain.

    Args:
        tables: with rows of differences.
        column: which figure is drawn.
        prefix: of ids.
    """
    found: dict[str, list[tuple[str, Number, float | None]]] = {}
    for table in tables:
        for row in table.rows:
            cell = number(table, row, column)
            if is_gain(row) and cell.value is not None:
                theirs = number(table, row, f"paper {column}").value
                found.setdefault(name(table, row), []).append((table.title, cell, theirs))
    return [_draw(method, column, bars, f"{prefix}{place}") for place, (method, bars) in enumerate(found.items())]


def _draw(method: str, column: str, bars: Sequence[tuple[str, Number, float | None]], prefix: str) -> Drawing:
    drawn = figure(3.1, 0.75 + 0.22 * len(bars))
    axes = drawn.add_subplot()
    rows = range(len(bars))
    values = [bar.value or 0.0 for _, bar, _ in bars]
    axes.barh(rows, values, height=0.62, color=[MORE if value >= 0 else LESS for value in values], alpha=0.85)
    for place, (_, bar, paper) in enumerate(bars):
        if bar.spread is not None:
            axes.errorbar(bar.value or 0.0, place, xerr=bar.spread, color=INK, elinewidth=0.9, capsize=2)
        if paper is not None:
            axes.plot([paper, paper], [place - 0.42, place + 0.42], color=INK, linewidth=1.6)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(rows, [label(title, 24) for title, _, _ in bars])
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x")
    axes.set_title(label(method))
    axes.set_xlabel(f"gain in {column} (points)")
    told = "; ".join(f"{title} {bar.text()}" for title, bar, _ in bars)
    return drawing(method, drawn, prefix, f"Gain in {column}, {method}: {told}.")
