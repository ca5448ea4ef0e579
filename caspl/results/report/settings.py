"""Ablation curves: base, new and HM by setting; where both phases vary, HM by the one with a line for the other."""

from __future__ import annotations

from collections.abc import Sequence

from caspl.results.report.drawing import Drawing
from caspl.results.report.methods import COLOURS, MARKS, drawing
from caspl.results.report.plot import figure, label
from caspl.results.tables import Figure as Number
from caspl.results.tables import Table

GRID = "boosting"
"""The first column of a table in which both phases vary."""
PHASES = {"depth": "depth", "length": "tokens"}
WORDS = ("trainable", "tokens", "domain", "parts")
"""Ablations whose settings are no numbers of one kind: between them there is no line."""

MOST = 24  # letters that stand side by side


def draw(ablation: str, table: Table, prefix: str) -> Drawing | None:
    """A plot of a table of :func:`caspl.results.ablations.views.table`; None where it has no two figures."""
    names = [str(row[0]) for row in table.rows]
    columns = [one for one in table.columns[1:] if one != "seeds"]
    grid = table.columns[0] == GRID
    lines = names if grid else columns
    ticks = columns if grid else names
    drawn = figure(3.1, 2.3)
    axes = drawn.add_subplot()
    told = []
    for number, line in enumerate(lines):
        cells = _cells(table, number, grid)
        found = [(place, cell) for place, cell in enumerate(cells) if cell.value is not None]
        if not found:
            continue
        values = [cell.value or 0.0 for _, cell in found]
        axes.errorbar(
            [place + 0.06 * (number - (len(lines) - 1) / 2) for place, _ in found],
            values,
            yerr=[cell.spread or 0.0 for _, cell in found],
            color=COLOURS[number % len(COLOURS)],
            marker=MARKS[number],
            linestyle="none" if ablation in WORDS else "-",
            elinewidth=0.9,
            label=f"boosting {line}" if grid else line,
        )
        told += values
    if len(told) < 2:
        return None
    axes.set_xticks(range(len(ticks)), [label(tick, 12) for tick in ticks])
    if sum(map(len, ticks)) > MOST:
        for tick in axes.get_xticklabels():
            tick.set(rotation=25, ha="right", rotation_mode="anchor")
    axes.set(
        xlabel=f"adapting {PHASES.get(ablation, ablation)}" if grid else ablation,
        ylabel="HM (%)" if grid else "accuracy (%)",
    )
    axes.set_xlim(-0.35, len(ticks) - 0.65)
    axes.grid(True, axis="y")
    across = 2 if len(lines) == 4 else 3
    style = {"frameon": False, "fontsize": 8, "handlelength": 1.4, "columnspacing": 1.0}
    drawn.legend(loc="outside upper center", ncols=across, **style)
    says = (
        f"Ablation {ablation}: from {min(told):.2f} to {max(told):.2f}. All figures are in the table of the same name."
    )
    return drawing(ablation, drawn, prefix, says)


def _cells(table: Table, number: int, grid: bool) -> Sequence[Number]:
    row = table.rows[number][1:] if grid else [line[number + 1] for line in table.rows]
    return [cell if isinstance(cell, Number) else Number(None) for cell in row]
