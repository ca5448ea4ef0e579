"""``python -m caspl.results compare A B [FOLDER]``: is one method better than another? A paired test over seeds."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterable, Sequence

from caspl.errors import CasPLError
from caspl.results import order
from caspl.results.collect import find_records
from caspl.results.paired import FEWEST, Paired, t_test, wilcoxon
from caspl.results.pairs import Measure, Method, Pairs, pairs_of
from caspl.results.record import RunRecord
from caspl.results.tables import FORMATS, MISSING, Cell, Figure, Table
from caspl.results.words import add_choice, answer, choose, require, require_records

NOTE = (
    "Pairs: the same data set, number of shots and seed. ±: sample standard deviation of the differences. t, p: "
    "Student's t test for pairs, two-sided; over all data sets each seed of each data set is a pair. Wilcoxon p: the "
    "signed-rank test of the data sets' mean differences. No p value is corrected for how many there are."
)


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="python -m caspl.results compare",
        description="Test whether method A is better than method B, by the differences of runs that have data set, "
        "shots and seed in common.",
        epilog=NOTE.replace("%", "%%"),
    )
    made.add_argument("a", metavar="A", help="a trainer, or TRAINER:CONFIG, e.g. CasPL_CoOp")
    made.add_argument("b", metavar="B", help="another, e.g. CoOp")
    add_choice(made)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 2 with one sentence on stderr where there is nothing to show."""
    options = parser().parse_args(arguments)
    return answer(lambda: _text(options), options.output)


def compare(records: Iterable[RunRecord], a: Method, b: Method) -> tuple[list[Table], list[str]]:
    """A table a data set, then one over all of them; and sentences on what there are too few pairs for.

    Raises:
        CasPLError: a method has no runs or several configs, or the two have no pair.
    """
    records = list(records)
    pairs = pairs_of(records, a, b)
    if not pairs:
        raise CasPLError(f"{a} and {b} have no data set, number of shots and seed in common, so that nothing pairs.")
    several = len({measure.shots for measure in pairs if measure.shots}) > 1

    def row(measure: Measure, pairs: list[tuple[float, float]], ranks: float | None) -> list[Cell]:
        found = t_test([one - other for one, other in pairs])
        means = [Figure(statistics.fmean(side)) for side in zip(*pairs, strict=True)]
        gap = Figure(found.mean, found.spread, signed=True)
        shots = [str(measure.shots or MISSING)] * several
        return [measure.name, *shots, str(found.count), *means, gap, *tested(found), p_value(ranks)]

    columns = ["measure", *["shots"] * several, "pairs", str(a), str(b), "difference", "t", "p", "Wilcoxon p"]
    names = order.named({measure.dataset for measure in pairs})
    tables = [
        Table(name, columns, [row(one, list(of.values()), None) for one, of in pairs.items() if one.dataset == name])
        for name in names
    ]
    alone = [f"{one.dataset} ({one.name})" for one, of in pairs.items() if len(of) < 2]
    notes = [f"Too few pairs for a t test, which takes two seeds: {', '.join(alone)}."] if alone else []
    over: dict[Measure, list[Pairs]] = {}
    for measure, of in pairs.items():
        over.setdefault(measure._replace(dataset=""), []).append(of)
    if len(names) > 1:
        rows = [row(one, [pair for of in parts for pair in of.values()], _ranks(parts)) for one, parts in over.items()]
        tables.append(Table("all data sets", columns, rows))
    few = dict.fromkeys(f"{one.name} ({len(parts)})" for one, parts in over.items() if len(parts) < FEWEST)
    if few:
        notes.append(f"Too few data sets for Wilcoxon's test, which takes {FEWEST}: {', '.join(few)}.")
    return tables, notes


def _text(options: argparse.Namespace) -> str:
    require("the test", "scipy")
    records = require_records(find_records(options.folder), options.folder)
    chosen = choose(records, options.dataset, options.shots)
    tables, notes = compare(chosen, Method.parse(options.a), Method.parse(options.b))
    if options.format == "csv":  # it has no place for them
        print(*notes, sep="\n", end="\n" * bool(notes), file=sys.stderr)
    return FORMATS[options.format](tables, " ".join([*notes, NOTE]))


def _ranks(parts: Sequence[Pairs]) -> float | None:
    return wilcoxon([statistics.fmean(one - other for one, other in of.values()) for of in parts])


def tested(found: Paired) -> list[Cell]:
    """The cells of t and p."""
    return [MISSING if found.t is None else f"{found.t:.2f}", p_value(found.p)]


def p_value(value: float | None) -> str:
    """A cell."""
    return MISSING if value is None else f"{value:.4f}" if value >= 0.0001 else f"{value:.1e}"
