"""The record of a run: one ``result.json`` that says what was trained, how, where, and what came out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from caspl.errors import CasPLError
from caspl.files import write_json
from caspl.files.parse import parse_json
from caspl.results.machine import environment

__all__ = ["FILE_NAME", "RunRecord", "environment", "read_record", "write_record"]

FILE_NAME = "result.json"
EVALUATIONS = "evaluations"
"""Folder, in a run's own, for the records of tests that were made after it."""
CLASSES = ("all", "base", "new")


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One test of one model.

    ``dataset`` is the registered name, ``config`` the stem of the method's config file, and ``classes`` says which
    classes were tested (all, base or new). ``trained_on`` says what the tested tokens have learned from (data set,
    classes, shots, seed; empty in older records), and ``tested`` which checkpoint they are, by path and digest, where
    they were not trained in the same run. ``metrics`` are percentages in full precision, among them ``accuracy``; one
    that is not finite becomes None. Nested values are turned into plain JSON values on construction, so that a record
    in memory equals the one read back and that writing cannot fail on an odd value after hours of training.

    Raises:
        CasPLError: if ``classes`` is unknown or there is no ``accuracy``.
    """

    trainer: str
    dataset: str
    shots: int
    seed: int
    classes: str
    metrics: dict[str, float]
    protocol: str = ""
    config: str = ""
    test_images: int = 0
    tested: dict[str, Any] = field(default_factory=dict)
    trained_on: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    commit: str = ""
    hardware: dict[str, Any] = field(default_factory=dict)
    started: str = ""
    finished: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for item in fields(self):
            object.__setattr__(self, item.name, _plain(getattr(self, item.name)))
        if self.classes not in CLASSES:
            raise CasPLError(f"a record's classes are one of {', '.join(CLASSES)}, not {self.classes!r}.")
        if "accuracy" not in self.metrics:
            raise CasPLError("a record's metrics must hold 'accuracy', in percent.")

    @property
    def accuracy(self) -> float | None:
        """The accuracy in percent; None where the run ended in NaN."""
        return self.metrics["accuracy"]


def write_record(folder: str | Path, record: RunRecord, name: str = FILE_NAME) -> Path:
    """Write ``<folder>/<name>`` in one step and return its path; an older record there is replaced."""
    return write_json(Path(folder) / name, asdict(record))


def read_record(path: str | Path) -> RunRecord:
    """Read a ``result.json``; fields of later versions are passed over.

    Raises:
        CasPLError: if the file cannot be read or is no whole record.
    """
    path = Path(path)
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CasPLError(f"cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:  # neither JSON nor, before that, UTF-8
        raise CasPLError(f"{path} is no JSON file ({error}); delete it or run its test again.") from error
    problem = _problem(content)
    if problem:
        raise CasPLError(f"{path} is no run record: {problem}; delete it or run its test again.")
    try:
        return RunRecord(**{item.name: content[item.name] for item in fields(RunRecord) if item.name in content})
    except CasPLError as error:
        raise CasPLError(f"{path} is no run record: {error}") from error


# By the annotation's text, as `from __future__ import annotations` leaves it.
_TYPES: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (int, float)}


def _problem(content: Any) -> str:
    """What keeps this from being a record, or an empty text."""
    if not isinstance(content, dict):
        return "it holds no JSON object"
    for item in fields(RunRecord):
        if item.name not in content:
            if item.default is MISSING and item.default_factory is MISSING:
                return f"it has no {item.name!r}"
        elif not isinstance(content[item.name], _TYPES.get(str(item.type), dict)):
            return f"{item.name!r} is no {str(item.type).partition('[')[0]}"
    for name, value in content["metrics"].items():
        if value is not None and not isinstance(value, (int, float)):
            return f"the metric {name!r} is no number"
    return ""


def _plain(value: Any) -> Any:
    """The value as JSON can hold it: text keys, lists, no NaN (None instead), names in place of odd objects."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    try:
        return _plain(value.item())  # a NumPy or torch scalar
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return str(value)
