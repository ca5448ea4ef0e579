"""``python -m caspl.results.ablations [FOLDER] [NAME ...]``: tables of the ablations whose runs lie below a folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from caspl.errors import CasPLError
from caspl.results.ablations import views
from caspl.results.ablations.settings import SETTINGS
from caspl.results.base_new import NOTE
from caspl.results.collect import find_records
from caspl.results.tables import FORMATS, print_text

DIRECTIONS = "directions"  # the table of the paper's claims


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="python -m caspl.results.ablations",
        description="Print the tables of the ablations that scripts/caspl/ablation.sh ran, and which claims of the "
        "paper they confirm.",
        epilog=f"{NOTE} {views.NOTE}",
    )
    made.add_argument("folder", nargs="?", default="output/ablations", metavar="FOLDER", help="where the runs lie")
    names = ", ".join((*SETTINGS, DIRECTIONS))
    made.add_argument("names", nargs="*", metavar="NAME", help=f"{names} (default: all that have runs)")
    made.add_argument("--format", choices=list(FORMATS), default="text", help="(default: text)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 2 with one sentence on stderr where there is nothing to show."""
    options = parser().parse_args(arguments)
    try:
        print_text(_tables(options))
    except CasPLError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _tables(options: argparse.Namespace) -> str:
    unknown = [name for name in options.names if name not in (*SETTINGS, DIRECTIONS)]
    if unknown:
        raise CasPLError(f"there is no ablation {unknown[0]!r}; there are {', '.join((*SETTINGS, DIRECTIONS))}.")
    groups = views.runs(find_records(options.folder))
    names = [name for name in options.names if name != DIRECTIONS] or views.begun(groups)
    if not names:
        raise CasPLError(f"there are no runs of an ablation below {options.folder}; see scripts/caspl/ablation.sh.")
    # One by one: tables that are rendered together have the same columns.
    tables = {name: views.table(name, groups) for name in names} | {DIRECTIONS: views.directions(names, groups)}
    shown = FORMATS[options.format]
    if options.format == "csv":
        if len(options.names) != 1:
            raise CasPLError(f"a CSV file holds one table: name one of {', '.join(tables)}.")
        return shown([tables[options.names[0]]], "")
    notes = [*[""] * (len(tables) - 1), f"{NOTE} {views.NOTE}"]
    return "\n".join(shown([table], note) for table, note in zip(tables.values(), notes, strict=True))


if __name__ == "__main__":
    sys.exit(main())
