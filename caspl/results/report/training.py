"""Training curves: what ``history.csv`` of runs that differ in seed alone says of each epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from caspl.results.report.drawing import Drawing
from caspl.results.report.methods import COLOURS, drawing
from caspl.results.report.plot import figure
from caspl.results.report.runs import Run

PANELS = (("loss", ("loss",)), ("accuracy (%)", ("acc", "val_accuracy")))
"""What is drawn where: label of an axis, and columns."""
NAMES = {"acc": "training batches", "val_accuracy": "validation"}
MOST = 5  # seeds that have an entry in the legend


def draw(groups: Mapping[str, Sequence[Run]]) -> list[Drawing]:
    """A plot of each group of runs that has a history."""
    made = []
    for place, (title, runs) in enumerate(groups.items()):
        drawn = _draw(title, [run for run in runs if run.history], f"epochs{place}")
        if drawn is not None:
            made.append(drawn)
    return made


def _draw(title: str, runs: Sequence[Run], prefix: str) -> Drawing | None:
    panels = [
        (axis, found)
        for axis, columns in PANELS
        if (found := [one for one in columns if any(_curve(run, one) for run in runs)])
    ]
    if not panels:
        return None
    drawn = figure(2.6 * len(panels), 1.95)
    for place, (axis, columns) in enumerate(panels):
        axes = drawn.add_subplot(1, len(panels), place + 1)
        for number, run in enumerate(runs):
            for column in columns:
                _line(axes, run, column, COLOURS[number % len(COLOURS)], len(columns) > 1)
        axes.set(xlabel="epoch", ylabel=axis)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(True)
        if place == 0 and 1 < len(runs) <= MOST:
            axes.legend(frameon=False, fontsize=7.5, handlelength=1.2)
    ends = [f"seed {run.record.seed} ends at {curve[-1][1]:g}" for run in runs if (curve := _curve(run, "loss"))]
    return drawing(title, drawn, prefix, f"Training curves, {title}; loss: {', '.join(ends)}.")


def _line(axes: Axes, run: Run, column: str, colour: str, several: bool) -> None:
    curve = _curve(run, column)
    if not curve:
        return
    validates = column == "val_accuracy"
    points = {"marker": "o", "markersize": 2.5} if validates or len(curve) == 1 else {}
    name = f"{NAMES[column]}, seed {run.record.seed}" if several else f"seed {run.record.seed}"
    dashes = "--" if validates else "-"
    axes.plot(*zip(*curve, strict=True), color=colour, linestyle=dashes, linewidth=1.2, label=name, **points)  # type: ignore[arg-type]


def _curve(run: Run, column: str) -> list[tuple[float, float]]:
    return [(row["epoch"], row[column]) for row in run.history if column in row and "epoch" in row]
