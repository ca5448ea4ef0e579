"""``python -m caspl.results [FOLDER]``: the tables of all run records below a folder, one for each protocol."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence

from caspl.errors import CasPLError
from caspl.results import base_new
from caspl.results.by_protocol import TABLES, note_of, tables_of
from caspl.results.collect import find_records
from caspl.results.tables import FORMATS
from caspl.results.words import WORDS, answer, choose, require_records, said


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="python -m caspl.results",
        description="Print the tables of the protocols, averaged over seeds, from the result.json files below a "
        "folder: base, new and harmonic mean; few-shot curves; what is tested on other data sets than it was trained "
        "on; which of several settings is best on validation images. What a run was is read from its record; where it "
        "lies does not matter.",
        epilog=f"{base_new.NOTE} More commands, each with a --help of its own: {', '.join(WORDS)} "
        "(a page with all tables and pictures; a test of two methods; a picture of a confusion matrix). A folder of "
        "such a name is given as ./report.".replace("%", "%%"),
    )
    made.add_argument("folder", nargs="?", default="output", metavar="FOLDER", help="where runs lie (default: output)")
    made.add_argument("--table", choices=TABLES, help="one of them (default: all that there are runs of)")
    made.add_argument("--dataset", nargs="+", default=[], metavar="NAME", help="only these, e.g. EuroSAT or eurosat")
    made.add_argument("--trainer", nargs="+", default=[], metavar="NAME", help="only these, e.g. CoOp CasPL_CoOp")
    made.add_argument("--shots", type=int, metavar="K", help="only runs of K images a class; zero-shot ones stay")
    made.add_argument("--format", choices=list(FORMATS), default="text", help="(default: text)")
    made.add_argument("--paper", action="store_true", help="show the paper's figures beside")
    made.add_argument("--difference", action="store_true", help="show what CasPL_X gains over X")
    made.add_argument("--output", metavar="FILE", help="write to a file instead of the screen")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 2 with one sentence on stderr where there is nothing to show."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    word = said(given)
    if word is not None:
        return word()
    options = parser().parse_args(given)
    return answer(lambda: _table(options), options.output)


def _table(options: argparse.Namespace) -> str:
    records = require_records(find_records(options.folder), options.folder)
    some = choose(records, options.dataset, options.shots, options.trainer)
    wanted = [options.table] if options.table else TABLES
    shows = base_new.Options(options.paper, options.difference, every_column=options.format == "csv")
    made = {name: tables for name in wanted if (tables := tables_of(name, some, shows))}
    if not made:
        has = "; ".join(
            f"{what}: {', '.join(sorted({str(getattr(record, what)) for record in records}))}"
            for what in ("dataset", "trainer", "shots", "classes")
        )
        raise CasPLError(f"no run below {options.folder} fits the choice; there are {has}.")
    if options.format == "csv" and len(made) > 1:
        raise CasPLError(f"a CSV file holds one table: choose --table {' or '.join(made)}.")
    shown = FORMATS[options.format]
    several = options.table is None and len(made) > 1
    head = {name: f"# {name}\n\n" if several and options.format in ("text", "markdown") else "" for name in made}
    texts = []
    for name, tables in made.items():
        # Tables that are rendered together have the same columns.
        parts = [list(part) for _, part in itertools.groupby(tables, key=lambda table: list(table.columns))]
        rendered = [shown(part, note_of(name, some) if part is parts[-1] else "") for part in parts]
        texts.append(head[name] + "\n".join(rendered))
    return "\n".join(texts)


if __name__ == "__main__":
    sys.exit(main())
