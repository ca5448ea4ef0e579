"""``python -m caspl.results confusion RUN``: a picture of the answers to each class, and the most confused pairs."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from caspl.errors import CasPLError
from caspl.files import write_atomically
from caspl.results.tables import print_text
from caspl.results.words import require

FILE_NAME = "confusion.csv"
FORMATS = ("svg", "png", "pdf")
MOST = 5000  # classes; no set of images has as many, and the matrix would not fit into memory


@dataclass(frozen=True)
class Confusion:
    """``counts[i][j]``: images of class i that were taken for class j."""

    names: list[str]
    counts: list[list[int]]

    def pairs(self, most: int = 10) -> list[tuple[str, str, int, int]]:
        """The most frequent errors: class, what it was taken for, how often, and of how many images."""
        errors = [
            (count, row, column)
            for row, counts in enumerate(self.counts)
            for column, count in enumerate(counts)
            if count and row != column
        ]
        errors.sort(key=lambda error: (-error[0], error[1:]))
        return [
            (self.names[row], self.names[column], count, sum(self.counts[row])) for count, row, column in errors[:most]
        ]


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="python -m caspl.results confusion",
        description="Draw the confusion matrix of a run and print its most confused pairs. A run leaves "
        "confusion.csv where it was asked to: TEST.COMPUTE_CMAT True.",
    )
    made.add_argument("run", metavar="RUN", type=Path, help="its folder, or one of the files *confusion.csv in it")
    made.add_argument("-o", "--output", metavar="FILE", type=Path, help=f"the picture: {', '.join(FORMATS)}")
    made.add_argument("--pairs", type=int, default=10, metavar="N", help="how many pairs to print (default: 10)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 2 with one sentence on stderr where there is nothing to draw."""
    options = parser().parse_args(arguments)
    try:
        confusion = read_confusion(_file(options.run))
        if options.output is not None:
            draw(confusion, options.output)
        if options.pairs > 0:
            print_text(_told(confusion.pairs(options.pairs)))
    except CasPLError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def read_confusion(path: Path) -> Confusion:
    """Read what a test has left.

    Raises:
        CasPLError: the file cannot be read or holds no square of counts.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head, *rows = [row for row in csv.reader(file) if row]
        names = [row[0] for row in rows]
        counts = [[int(cell) for cell in row[1:]] for row in rows]
    except OSError as error:
        raise CasPLError(f"cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, csv.Error) as error:
        raise CasPLError(f"{path} is no confusion matrix ({error}); run its test again.") from error
    if head[1:] != names or any(len(row) != len(names) or min(row) < 0 for row in counts) or not names:
        raise CasPLError(f"{path} is no confusion matrix (it is no square of counts); run its test again.")
    if len(names) > MOST:
        raise CasPLError(f"{path} has {len(names)} classes, too many for a picture.")
    return Confusion(names, counts)


def _file(run: Path) -> Path:
    """The one of a folder.

    Raises:
        CasPLError: there is none or more than one.
    """
    if not run.is_dir():
        return run
    if (run / FILE_NAME).is_file():
        return run / FILE_NAME
    found = sorted(run.glob(f"evaluations/*-{FILE_NAME}"))
    if len(found) == 1:
        return found[0]
    if found:
        raise CasPLError(f"{run} holds several tests; say which: {', '.join(map(str, found))}.")
    raise CasPLError(f"there is no {FILE_NAME} in {run}; its test writes one with TEST.COMPUTE_CMAT True.")


def require_drawable(output: Path) -> str:
    """The format of a picture that is to be drawn.

    Raises:
        CasPLError: the file's name ends in none of ``FORMATS``, it is a folder, or there is nothing to draw with.
    """
    form = output.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        raise CasPLError(f"{output} is no picture's name: end it with {', '.join(f'.{one}' for one in FORMATS)}.")
    if output.is_dir():
        raise CasPLError(f"cannot write {output}: it is a folder")
    require("a picture", "matplotlib")
    return form


def draw(confusion: Confusion, output: Path) -> None:
    """Draw the matrix into a file of one of ``FORMATS``."""
    form = require_drawable(output)
    from caspl.results.report import matrix, plot  # late: the pairs need no drawing

    with plot.style():
        content = plot.render(matrix.draw(confusion), form)
    write_atomically(output, lambda path: Path(path).write_bytes(content))


def _told(pairs: Sequence[tuple[str, str, int, int]]) -> str:
    if not pairs:
        return "no image was taken for another class\n"
    lines = [f"{count:5d} of {images:5d}  {name} taken for {other}" for name, other, count, images in pairs]
    return "\n".join(["images  most confused", *lines]) + "\n"
