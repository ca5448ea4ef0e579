"""``python -m caspl.results [FOLDER]``: the base/new/HM table of all run records below a folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from caspl.errors import CasPLError
from caspl.files import write_atomically
from caspl.results import base_new, paper_figures
from caspl.results.collect import Group, base_to_new, find_records
from caspl.results.tables import FORMATS, print_text


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="python -m caspl.results",
        description="Print base, new and harmonic mean of every method, averaged over seeds, from the result.json "
        "files below a folder. What a run was is read from its record; where it lies does not matter.",
        epilog=base_new.NOTE.replace("%", "%%"),
    )
    made.add_argument("folder", nargs="?", default="output", metavar="FOLDER", help="where runs lie (default: output)")
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
    options = parser().parse_args(arguments)
    try:
        text = _table(options)
        if options.output is None:
            print_text(text)
        else:
            write_atomically(options.output, lambda path: Path(path).write_bytes(text.encode("utf-8")))
    except CasPLError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _table(options: argparse.Namespace) -> str:
    records = find_records(options.folder)
    if not records:
        raise CasPLError(f"no run records (result.json) below {options.folder}; name the folder your runs write to.")
    groups = base_to_new(records)
    if not groups:
        raise CasPLError(f"none of the {len(records)} run records below {options.folder} tests base or new classes.")
    chosen = [group for group in groups if _wanted(group, options)]
    if not chosen:
        has = "; ".join(
            f"{what}: {', '.join(sorted({str(getattr(group, what)) for group in groups}))}"
            for what in ("dataset", "trainer", "shots")
        )
        raise CasPLError(f"no run below {options.folder} fits the choice; there are {has}.")
    shown = base_new.Options(options.paper, options.difference, every_column=options.format == "csv")
    return FORMATS[options.format](base_new.tables(chosen, shown), base_new.NOTE)


def _wanted(group: Group, options: argparse.Namespace) -> bool:
    datasets = {paper_figures.dataset_key(name) for name in options.dataset}
    trainers = {name.lower() for name in options.trainer}
    return (
        (not datasets or paper_figures.dataset_key(group.dataset) in datasets)
        and (not trainers or group.trainer.lower() in trainers)
        and (options.shots is None or group.shots in (0, options.shots))
    )


if __name__ == "__main__":
    sys.exit(main())
