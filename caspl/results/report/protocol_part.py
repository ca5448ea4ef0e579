"""The part of a protocol: its tables, the average first, and pictures that are drawn from them."""

from __future__ import annotations

from collections.abc import Sequence

from caspl.results.report import curves, gains, methods, scatter
from caspl.results.report.parts import Pictures, Section, Shown, command
from caspl.results.report.plot import INK, style
from caspl.results.tables import Table

MOST = 3
"""Tables that are all read at once."""

TITLES = {
    "base2new": "Base to new classes",
    "few_shot": "Few-shot learning",
    "cross_dataset": "To other data sets",
    "domain_generalization": "To other domains",
    "chosen": "Settings chosen on validation images",
}


def protocol_part(name: str, tables: Sequence[Table], folder: str, seeds: list[int], note: str) -> Section:
    """Of the tables of one protocol.

    Args:
        name: a key of TITLES.
        tables: one at least.
        folder, seeds: of their runs.
        note: what is below the tables.
    """
    more = () if name == "chosen" else ("--paper", "--difference")
    whole = command(folder, "--table", name, *more)
    shown = [Shown(table, whole if _is_average(table) else _of_one(name, table, folder)) for table in tables]
    # The average is read first; what stands behind it, on demand.
    first = [one for one in shown if _is_average(one.table)] or shown[: 1 if len(shown) > MOST else None]
    rest = [one for one in shown if one not in first]
    with style(INK):
        pictures = _pictures(name, [one.table for one in [*first, *rest]], whole)
    return Section(name, TITLES[name], note, seeds, first, rest, pictures)


def _pictures(name: str, tables: Sequence[Table], whole: str) -> list[Pictures]:
    drawable = [methods.drawable(table) for table in tables]
    shown = methods.looks(drawable)
    few = f" Of a method with more than {methods.MOST} configs one is drawn." if drawable != list(tables) else ""
    crosses = " Crosses: the paper's figures." if any(_has_paper(table) for table in tables) else ""
    lines = " Lines across a bar: the paper's gain." if crosses else ""
    spread = "sample standard deviation over seeds"
    made = []
    if name == "base2new":
        text = f"Thin curves: equal HM, with its value. Bars: {spread}. Arrows: from X to CasPL_X.{crosses}{few}"
        drawn = scatter.draw(drawable, shown)
        made.append(Pictures("Base against new classes", text, whole, drawn, methods.legend(shown, "both")))
    elif name == "few_shot":
        text = f"Bands: {spread}.{crosses}{few}"
        drawn = curves.draw(drawable, shown)
        made.append(Pictures("Accuracy by images a class", text, whole, drawn, methods.legend(shown, "shots")))
    else:
        return []
    column = "HM" if name == "base2new" else next(one for one in reversed(list(curves.places(tables[0].columns))))
    text = f"Whiskers: sample standard deviation of the seeds' differences.{lines}"
    drawn = gains.draw(_averages_last(tables), column, f"gain-{name}")
    what = column if name == "base2new" else f"accuracy, {column}"
    made.append(Pictures(f"What CasPL_X gains over X ({what})", text, whole, drawn))
    return [one for one in made if one.drawings]


def _of_one(name: str, table: Table, folder: str) -> str:
    """The command of a data set's table; those of a source are told apart by nothing but their titles."""
    only = ("--dataset", table.title) if name in ("base2new", "few_shot", "chosen") else ()
    more = () if name == "chosen" else ("--paper", "--difference")
    return command(folder, "--table", name, *only, *more)


def _is_average(table: Table) -> bool:
    return table.title.startswith("average of ")


def _averages_last(tables: Sequence[Table]) -> list[Table]:
    return sorted(tables, key=_is_average)


def _has_paper(table: Table) -> bool:
    return any(column.startswith("paper ") for column in table.columns)
