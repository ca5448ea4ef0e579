"""The words behind ``python -m caspl.results``, and what all of its commands do with what they have made."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from caspl.errors import CasPLError
from caspl.files import write_atomically
from caspl.results.collect import is_zero_shot
from caspl.results.paper_figures import dataset_key
from caspl.results.record import RunRecord
from caspl.results.tables import FORMATS, print_text

WORDS = {
    "report": "caspl.results.report.command",
    "compare": "caspl.results.compare",
    "gains": "caspl.results.gains",
    "confusion": "caspl.results.confusion",
}
"""Each a module with a ``main``, which is imported when its word is said: they need more than the tables do."""


def said(arguments: Sequence[str]) -> Callable[[], int] | None:
    """What a word in front asks for; None where a folder stands there."""
    if not arguments or arguments[0] not in WORDS:
        return None
    return lambda: int(importlib.import_module(WORDS[arguments[0]]).main(arguments[1:]))


def require(what: str, *modules: str) -> None:
    """See that libraries are there that the tables can do without.

    Raises:
        CasPLError: one is not.
    """
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise CasPLError(f"{what} needs {name}: pip install '.[report]' in the checkout of CasPL.") from error


def add_choice(made: argparse.ArgumentParser) -> None:
    """The options of a paired test: which runs, and how their table is written."""
    made.add_argument("folder", nargs="?", default="output", metavar="FOLDER", help="where runs lie (default: output)")
    made.add_argument("--dataset", nargs="+", default=[], metavar="NAME", help="only these, e.g. EuroSAT or eurosat")
    made.add_argument("--shots", type=int, metavar="K", help="only runs of K images a class")
    made.add_argument("--format", choices=list(FORMATS), default="text", help="(default: text)")
    made.add_argument("--output", metavar="FILE", help="write to a file instead of the screen")


def require_records(records: Sequence[RunRecord], folder: str) -> Sequence[RunRecord]:
    """The records, if there are any.

    Raises:
        CasPLError: there is none below the folder.
    """
    if not records:
        raise CasPLError(f"no run records (result.json) below {folder}; name the folder your runs write to.")
    return records


def choose(
    records: Iterable[RunRecord], datasets: Sequence[str], shots: int | None, trainers: Sequence[str] = ()
) -> list[RunRecord]:
    """Those of some data sets, trainers and a number of shots, which what is not trained does not have.

    Args:
        records: of any runs.
        datasets, trainers: in any spelling; none: all.
        shots: None: any number.
    """
    keys, names = set(map(dataset_key, datasets)), {name.lower() for name in trainers}
    return [
        record
        for record in records
        if (not keys or dataset_key(record.dataset) in keys)
        and (not names or record.trainer.lower() in names)
        and (shots is None or record.shots == shots or is_zero_shot(record))
    ]


def answer(make: Callable[[], str], output: str | None = None) -> int:
    """Show a text or write it to a file; returns the exit code: 0, or 2 with one sentence on stderr."""
    try:
        if output is not None and Path(output).is_dir():  # before the work, not after it
            raise CasPLError(f"cannot write {output}: it is a folder")
        text = make()
        if output is None:
            print_text(text)
            sys.stdout.flush()
        else:
            write_atomically(output, lambda path: Path(path).write_bytes(text.encode("utf-8")))
    except CasPLError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
