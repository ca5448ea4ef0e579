"""Runs with the files that lie beside their records: command, epochs, figures of each class, confusion matrix."""

from __future__ import annotations

import csv
import io
import logging
import math
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TypeVar

from caspl.errors import CasPLError
from caspl.results.collect import find_paths
from caspl.results.confusion import FILE_NAME as CONFUSION
from caspl.results.confusion import Confusion, read_confusion
from caspl.results.order import PREFIX
from caspl.results.record import FILE_NAME, RunRecord

logger = logging.getLogger(__name__)
AnyPath = TypeVar("AnyPath", bound=PurePath)


@dataclass(frozen=True)
class Run:
    """A test, with what is there of it.

    Attributes:
        place: of its record, below the folder of all runs.
        record: what it says.
        command: that makes it, as its driver kept it; else as its record tells.
        kept: whether a driver kept it.
        history: one mapping an epoch, of what is a number.
        classes: lines of classes.csv.
        matrix: the file of the confusion matrix, if it was asked for.
    """

    place: str
    record: RunRecord
    command: str
    kept: bool
    history: list[dict[str, float]] = field(default_factory=list)
    classes: list[dict[str, str]] = field(default_factory=list)
    matrix: Path | None = None

    @property
    def confusion(self) -> Confusion | None:
        """Read anew each time: of a thousand classes it is a million numbers, and there are many runs."""
        if self.matrix is None:
            return None
        try:
            return read_confusion(self.matrix)
        except CasPLError as error:
            logger.warning("left out: %s", error)
            return None


def find_runs(folder: Path) -> list[Run]:
    """All runs below a folder, in the order of their records' paths.

    Raises:
        CasPLError: there is no such folder.
    """
    return [_run(folder, path, record) for path, record in find_paths(folder).items()]


def readable(path: str) -> str:
    """A path as text, also where its bytes are none."""
    return os.fsencode(path).decode("utf-8", "replace")


def _run(folder: Path, path: Path, record: RunRecord) -> Run:
    own = path.name == FILE_NAME
    place, where = (readable(one.relative_to(folder).as_posix()) for one in (path, path.parent))
    matrix = beside(path, CONFUSION)
    kept = _text(path.with_name("command.txt")).strip() if own else ""
    return Run(
        place,
        record,
        _kept(kept, where) if kept else _told(record),
        bool(kept),
        [_numbers(row) for row in _rows(path.with_name("history.csv"))] if own else [],
        _rows(beside(path, "classes.csv")),
        matrix if matrix.is_file() else None,
    )


def beside(path: AnyPath, name: str) -> AnyPath:
    """Where a test leaves a file: with the record's name in front where that is an evaluation's."""
    return path.with_name(name if path.name == FILE_NAME else f"{path.stem}-{name}")


def _kept(command: str, place: str) -> str:
    words, mark, phase1 = command.partition(" # ")
    return f"python train.py --output-dir {shlex.quote(f'OUTPUT/{place}')} {words.strip()}{mark}{phase1}"


def _told(record: RunRecord) -> str:
    words = ["--trainer", record.trainer, "--seed", str(record.seed)]
    if record.config:
        words += ["--config-file", f"configs/trainers/{record.trainer.removeprefix(PREFIX)}/{record.config}.yaml"]
    if record.tested:
        words += ["--eval-only", "--model-dir", str(Path(str(record.tested.get("checkpoint", ""))).parent.parent)]
    words += ["DATASET.NAME", record.dataset, "DATASET.NUM_SHOTS", str(record.shots)]
    words += ["DATASET.SUBSAMPLE_CLASSES", record.classes]
    return f"python train.py {shlex.join(words)}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError as error:
        logger.warning("left out: cannot read %s: %s", path, error.strerror or error)
        return ""


def _rows(path: Path) -> list[dict[str, str]]:
    """Lines of a CSV file, by column; none of a damaged one."""
    try:
        lines = list(csv.reader(io.StringIO(_text(path), newline="")))
        return [dict(zip(lines[0], line, strict=True)) for line in lines[1:] if line]
    except (ValueError, csv.Error) as error:
        logger.warning("left out: %s is damaged (%s).", path, error)
    except IndexError:  # there is none, or nothing in it
        pass
    return []


def _numbers(row: dict[str, str]) -> dict[str, float]:
    found = {}
    for column, text in row.items():
        try:
            found[column] = float(text)
        except ValueError:  # a column that came later
            continue
    return {column: value for column, value in found.items() if math.isfinite(value)}
