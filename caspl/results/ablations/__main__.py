"""``python -m caspl.results.ablations [FOLDER] [NAME ...]``: tables of the ablations whose runs lie below a folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from caspl.errors import CasPLError
from caspl.protocols.ablations import Ablations, ablation_tables, ablations_of, read_ablations
from caspl.protocols.tables import OWN, read_table
from caspl.results.ablations import views
from caspl.results.ablations.collected import by_setting
from caspl.results.base_new import NOTE
from caspl.results.collect import find_records
from caspl.results.record import RunRecord
from caspl.results.tables import FORMATS, Table, print_text

DIRECTIONS = "directions"  # the table of the paper's claims


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="python -m caspl.results.ablations",
        description="Print the tables of the ablations that scripts/reproduce.py ran, and which claims of the paper "
        "they confirm.",
        epilog=f"{NOTE} {views.NOTE}",
    )
    made.add_argument("folder", nargs="?", default="output/ablations", metavar="FOLDER", help="where the runs lie")
    names = ", ".join((*read_ablations(ablation_tables()[0]).tables, DIRECTIONS))
    made.add_argument("names", nargs="*", metavar="NAME", help=f"{names} (default: all that have runs)")
    tables = ablation_tables()
    what = f"{' or '.join(tables)}, or a .yaml of your own (default: all that come with the library)"
    made.add_argument("--table", metavar="TABLE", help=what)
    made.add_argument("--format", choices=list(FORMATS), default="text", help="(default: text)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 2 with one sentence on stderr where there is nothing to show."""
    options = parser().parse_args(arguments)
    try:
        print_text(_text(options))
    except CasPLError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _text(options: argparse.Namespace) -> str:
    asked = [_read(name) for name in ([options.table] if options.table else ablation_tables())]
    known = (*asked[0].tables, DIRECTIONS)
    unknown = [name for name in options.names if name not in known]
    if unknown:
        raise CasPLError(f"there is no ablation {unknown[0]!r}; there are {', '.join(known)}.")
    records = find_records(options.folder)
    found = [tables for one in asked if (tables := tables_of(one, records, options.names))]
    if not found:
        raise CasPLError(f"there are no runs of an ablation below {options.folder}; see docs/ablations.md.")
    made = [table for some in found for table in some.values()]
    # One by one: tables that are rendered together have the same columns.
    shown = FORMATS[options.format]
    if options.format == "csv":
        names = list(found[0])
        if len(options.names) != 1 or len(found) > 1:
            more = f" of one --table ({', '.join(one.name for one in asked)})" if len(found) > 1 else ""
            raise CasPLError(f"a CSV file holds one table: name one of {', '.join(names)}{more}.")
        return shown([found[0][options.names[0]]], "")
    notes = [*[""] * (len(made) - 1), f"{NOTE} {views.NOTE}"]
    return "\n".join(shown([table], note) for table, note in zip(made, notes, strict=True))


def _read(table: str) -> Ablations:
    if table in ablation_tables():
        return read_ablations(table)
    if not table.endswith(OWN):
        there = ", ".join(ablation_tables())
        raise CasPLError(f"there is no table {table!r}; there are {there}, or a .yaml of your own.")
    return ablations_of(read_table(Path(table)), table)


def tables_of(ablations: Ablations, records: Sequence[RunRecord], names: Sequence[str] = ()) -> dict[str, Table]:
    """The tables of some ablations by name, and that of the paper's claims; without names, of those that have runs."""
    found = by_setting(ablations, records)
    begun = [name for name, groups in found.items() if groups]
    if not begun:
        return {}
    chosen = [ablations.tables[name] for name in names if name != DIRECTIONS]
    chosen = chosen or [ablations.tables[name] for name in begun]
    tables = {one.name: views.table(one, found[one.name]) for one in chosen}
    return tables | {DIRECTIONS: views.directions(chosen, found)}


if __name__ == "__main__":
    sys.exit(main())
