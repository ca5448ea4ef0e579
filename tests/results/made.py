"""Records for the tests of this folder."""

from pathlib import Path
from typing import Any

from caspl.results import RunRecord, write_record


def record(accuracy: float = 80.0, **changes: Any) -> RunRecord:
    """A record of CoOp on EuroSAT, seed 1, base classes, unless told otherwise."""
    fields: dict[str, Any] = {
        "protocol": "base2new",
        "trainer": "CoOp",
        "dataset": "EuroSAT",
        "config": "vit_b16",
        "shots": 16,
        "seed": 1,
        "classes": "base",
        "metrics": {"accuracy": accuracy, "error_rate": 100 - accuracy},
    }
    return RunRecord(**{**fields, **changes})


def pair(base: float, new: float, **changes: Any) -> list[RunRecord]:
    """The base and the new test of one run."""
    return [record(base, classes="base", **changes), record(new, classes="new", **changes)]


def write_all(folder: Path, records: list[RunRecord]) -> Path:
    """Every record in a folder of its own whose name says nothing about it."""
    for number, item in enumerate(records):
        write_record(folder / "runs" / f"{number:04d}", item)
    return folder
