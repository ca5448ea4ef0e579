"""What a training leaves for reports: ``history.csv``, one row an epoch."""

from __future__ import annotations

import csv
import io
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from caspl.files import write_atomically

FILE_NAME = "history.csv"


class History:
    """The means of an epoch's numbers, its learning rate and seconds.

    Args:
        folder: of the run; a file that is there is gone on with.
        writes: whether this process writes it.
    """

    def __init__(self, folder: str | Path, writes: bool = True) -> None:
        self.writes = writes
        self.path = Path(folder) / FILE_NAME
        self.rows: list[dict[str, str]] = []
        self._numbers: dict[str, list[float]] = defaultdict(list)

    def begin(self, epoch: int) -> None:
        """Keep what is written of the epochs before this one, counted from 0, and nothing of later ones."""
        self._numbers.clear()
        self.rows = []
        if epoch and self.path.is_file():
            try:
                with self.path.open(encoding="utf-8", newline="") as file:
                    self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) <= epoch]
            except (ValueError, KeyError, TypeError, csv.Error):
                self.rows = []  # another program's; it is written anew

    def add(self, numbers: Iterable[Mapping[str, float]]) -> None:
        """Take in the numbers of batches, by name."""
        for row in numbers:
            for name, value in row.items():
                self._numbers[name].append(value)

    def end(self, epoch: int, **more: float) -> None:
        """Write the row of an epoch, counted from 1.

        Args:
            more: its numbers that are no means over batches.
        """
        means = {name: statistics.fmean(values) for name, values in self._numbers.items()}
        self._numbers.clear()
        if not self.writes:
            return
        self.rows.append({"epoch": str(epoch), **{name: f"{value:.6g}" for name, value in (means | more).items()}})
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(self.path, lambda path: Path(path).write_text(text.getvalue(), encoding="utf-8"))
