"""``python -m caspl.results gains [FOLDER]``: what boosting tokens bring to each method, tested, in words too."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from caspl.errors import CasPLError
from caspl.results import order
from caspl.results.collect import Group, base_to_new, find_records, summarize
from caspl.results.compare import tested
from caspl.results.figures import BySeed, figure
from caspl.results.paired import Paired, t_test
from caspl.results.record import RunRecord
from caspl.results.tables import FORMATS, Cell, Figure, Table
from caspl.results.words import add_choice, answer, choose, require, require_records

LEVEL = 0.05
"""Below which a p value is called small."""
MEASURES = ("HM", "base", "new")
NOTE = (
    "Pairs: runs of X and of CasPL_X with the same data set, shots and seed. ±: sample standard deviation. t, p: "
    "Student's t test for pairs, two-sided, not corrected for how many there are."
)


@dataclass(frozen=True)
class Gain:
    """Of one method: both sides over the seeds that they share, and what their differences tell."""

    method: str
    config: str
    plain: Figure
    boosted: Figure
    found: Paired

    @property
    def small_p(self) -> bool:
        """Whether the test calls the difference one."""
        return self.found.p is not None and self.found.p < LEVEL


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="python -m caspl.results gains",
        description="Every method X beside CasPL_X, from base to new classes: both over the seeds that they share, the "
        "difference and a paired test, and a sentence that sums up.",
        epilog=NOTE.replace("%", "%%"),
    )
    add_choice(made)
    made.add_argument("--measure", choices=MEASURES, default="HM", help="(default: HM)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 2 with one sentence on stderr where there is nothing to show."""
    options = parser().parse_args(arguments)
    return answer(lambda: _text(options), options.output)


def gains(records: Sequence[RunRecord], measure: str = "HM") -> dict[str, list[Gain]]:
    """What boosting brings, by data set, in the order of tables.

    Args:
        records: of any runs; those from base to new count.
        measure: one of :data:`MEASURES`.
    """
    groups = base_to_new(records)
    made: dict[str, list[Gain]] = {}
    for name in order.datasets(groups):
        members = sorted((group for group in groups if group.dataset == name), key=order.sort_key)
        several = order.several_configs(members)
        for group in members:
            plain = order.partner(group, members)
            if plain is None:
                continue
            boosted, other = _by_seed(group, measure), _by_seed(plain, measure)
            if not plain.shots and other:  # nothing is drawn there: its one figure stands beside every seed
                other = dict.fromkeys(boosted, statistics.fmean(other.values()))
            seeds = sorted(boosted.keys() & other.keys())
            if seeds:
                found = t_test([boosted[seed] - other[seed] for seed in seeds])
                mine, theirs = (figure(summarize({seed: side[seed] for seed in seeds})) for side in (boosted, other))
                made.setdefault(name, []).append(Gain(plain.trainer, group.config * several, theirs, mine, found))
    return made


def summary(found: Sequence[Gain], measure: str) -> str:
    """In words, what the tests say: the same records make the same sentence.

    Args:
        found: of one data set, one at least.
        measure: what they are of.
    """
    higher = [one for one in found if one.found.mean > 0]
    sure = [one for one in higher if one.small_p]
    worse = [one for one in found if one.found.mean < 0 and one.small_p]
    best, least = (pick(found, key=lambda one: one.found.mean) for pick in (max, min))
    counts = sorted({one.found.count for one in found})
    seeds = f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    parts = [f"Behind boosting tokens {measure} is higher for {len(higher)} of {len(found)} methods, means of {seeds}"]
    parts.append(f"for {len(sure) or 'none'} of these p < {LEVEL:g}" + (f" ({_names(sure)})" if sure else ""))
    if worse:
        parts.append(f"for {_names(worse)} it is lower with p < {LEVEL:g}")
    if len(found) > 1:
        shown = [f"{one.found.mean:+.2f} ({one.method})" for one in (least, best)]
        parts.append(f"the differences go from {shown[0]} to {shown[1]}")
    return "; ".join(parts) + "."


def table(name: str, found: Sequence[Gain], measure: str) -> Table:
    """One data set's."""
    shows_config = any(one.config for one in found)
    columns = ["X", *["config"] * shows_config, f"X, {measure}", f"CasPL_X, {measure}", "difference", "pairs", "t", "p"]
    rows: list[list[Cell]] = []
    for one in found:
        gap = Figure(one.found.mean, one.found.spread, signed=True)
        label = [one.method, *[one.config] * shows_config]
        rows.append([*label, one.plain, one.boosted, gap, str(one.found.count), *tested(one.found)])
    return Table(name, columns, rows)


def _text(options: argparse.Namespace) -> str:
    require("the test", "scipy")
    records = require_records(find_records(options.folder), options.folder)
    made = gains(choose(records, options.dataset, options.shots), options.measure)
    if not made:
        raise CasPLError(f"no method below {options.folder} has runs from base to new both as X and as CasPL_X.")
    if options.format == "csv" and len(made) > 1:
        raise CasPLError(f"a CSV file holds one table: choose --dataset {' or '.join(made)}.")
    shown = FORMATS[options.format]
    texts = [
        shown([table(name, found, options.measure)], f"{name}: {summary(found, options.measure)} {NOTE}")
        for name, found in made.items()
    ]
    return "\n".join(texts)


def _by_seed(group: Group, measure: str) -> BySeed:
    return {"HM": group.hm, "base": group.base, "new": group.new}[measure]


def _names(found: Sequence[Gain]) -> str:
    return ", ".join(one.method for one in found)
