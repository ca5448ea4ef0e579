"""Base against new classes, with lines of equal harmonic mean; an arrow leads from X to CasPL_X."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from caspl.results.order import PREFIX
from caspl.results.report.drawing import Drawing
from caspl.results.report.methods import Look, drawing, is_gain, name, number
from caspl.results.report.plot import INK, figure, label
from caspl.results.tables import Table

STEPS = (0.5, 1, 2, 5, 10, 20)
POINTS = 120  # of a line
_BOTH = ("base", "new")


def draw(tables: Sequence[Table], shown: Mapping[str, Look]) -> list[Drawing]:
    """A plot of each table of :func:`caspl.results.base_new.tables` that has a method with both figures."""
    return [made for place, table in enumerate(tables) if (made := _draw(table, shown, f"both{place}")) is not None]


def new_at(harmonic: float, base: float) -> float:
    """The accuracy on new classes that makes this HM with that on base classes; beyond all where none does."""
    return harmonic * base / (2 * base - harmonic) if 2 * base > harmonic else math.inf


def _draw(table: Table, shown: Mapping[str, Look], prefix: str) -> Drawing | None:
    drawn = figure(3.1, 2.8)
    axes = drawn.add_subplot()
    points: dict[str, tuple[float, float]] = {}
    around = []  # ends of bars, and the paper's
    for row in table.rows:
        cells = [number(table, row, one) for one in _BOTH]
        base, new = (cell.value for cell in cells)
        if is_gain(row) or base is None or new is None:
            continue
        look = shown[name(table, row)]
        points[name(table, row)] = (base, new)
        spread = [cell.spread for cell in cells]
        ends = [cell.spread or 0.0 for cell in cells]
        around += [(base - ends[0], new - ends[1]), (base + ends[0], new + ends[1])]
        style = look.line() | {"linestyle": "none", "capsize": 0, "elinewidth": 0.9, "alpha": 0.95}
        axes.errorbar(base, new, xerr=spread[0], yerr=spread[1], **style)
        x, y = (number(table, row, f"paper {one}").value for one in _BOTH)
        if x is not None and y is not None:
            around.append((x, y))
            axes.plot(x, y, color=look.colour, marker="x", markersize=4)
            axes.plot([base, x], [new, y], color=look.colour, linewidth=0.6, linestyle=":")
    if not points:
        return None
    for method, end in points.items():
        start = points.get(method.removeprefix(PREFIX)) if method.startswith(PREFIX) else None
        if start and start != end:
            arrow = {"arrowstyle": "->", "color": shown[method].colour, "lw": 0.9, "shrinkA": 4, "shrinkB": 4}
            axes.annotate("", end, start, arrowprops=arrow)
    _limit(axes, [*points.values(), *around])
    _iso_lines(axes)
    axes.set_title(label(table.title), pad=11)
    axes.set(xlabel="base classes (%)", ylabel="new classes (%)")
    says = f"Accuracy on base and new classes: {table.title}. All figures are in the table of the same name."
    return drawing(table.title, drawn, prefix, says)


def _limit(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """Room around all points, and for the numbers of the lines."""
    limits = []
    for values in zip(*points, strict=True):
        low, high = min(values), max(values)
        room = max(0.1 * (high - low), 0.8)
        limits.append((max(0.0, low - room), min(100.0, high + room)))
    axes.set(xlim=limits[0], ylim=limits[1])


def _iso_lines(axes: Axes) -> None:
    """Lines of equal HM through the plot, each with its number where it leaves on the right or on top."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    least, most = (2 * x * y / (x + y) if x + y else 0.0 for x, y in ((left, bottom), (right, top)))
    step = next((one for one in STEPS if (most - least) / one <= 7), STEPS[-1])
    xs = [left + (right - left) * place / POINTS for place in range(POINTS + 1)]
    for count in range(math.ceil(least / step), math.floor(most / step) + 1):
        line = [(x, y) for x in xs if bottom <= (y := new_at(count * step, x)) <= top]
        if len(line) < 2:
            continue
        axes.plot(*zip(*line, strict=True), color=INK, linewidth=0.7, alpha=0.3, zorder=0.5)
        told = f"{count * step:g}"
        if line[-1][0] == xs[-1]:
            axes.annotate(told, line[-1], (2, 0), textcoords="offset points", va="center", fontsize=7, alpha=0.7)
        elif line[0][0] > left:  # on the left it would stand among the axis' own
            axes.annotate(told, line[0], (0, 2), textcoords="offset points", ha="center", fontsize=7, alpha=0.7)
