"""Whose an error is: a sentence for a wrong setting or a broken file, but a bug keeps its traceback."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caspl.errors import CasPLError, first_line

HERE = Path(__file__).resolve().parents[1]
SHARED = {"base.py", "blame.py", "boosted.py", "config.py", "recorder.py", "registry.py", "session.py"}
"""What is no method in this folder."""


def is_users_own(error: BaseException) -> bool:
    """Whether a method took part, one in this folder or a plug-in's: code that a user may have written."""
    return any(_of_a_user(path) for path in _files(error))


@contextmanager
def settings_refused() -> Iterator[None]:
    """The engine's words for a setting that it cannot work with, as a sentence; everything else stays what it is.

    Raises:
        CasPLError: in place of what the engine raises.
    """
    try:
        yield
    except (ValueError, AssertionError, KeyError, TypeError) as error:
        ours = [path for path in _files(error) if not _of_a_library(path)]
        if is_users_own(error) or not ours or not _of_the_engine(ours[-1]):
            raise
        raise CasPLError(f"the trainer cannot be built with this config: {first_line(error)}") from error


def _files(error: BaseException) -> list[Path]:
    """Of the code that ran, the innermost last."""
    return [Path(frame.filename).resolve() for frame in traceback.extract_tb(error.__traceback__)]


def _of_the_engine(path: Path) -> bool:
    return ("dassl" in path.parts and "caspl" not in path.parts) or HERE / "datasets" in path.parents


def _of_a_library(path: Path) -> bool:
    installed = any(part in ("site-packages", "dist-packages") for part in path.parts)
    return not _of_the_engine(path) and (installed or path.is_relative_to(Path(sys.base_prefix)))


def _of_a_user(path: Path) -> bool:
    if path.parent == HERE / "trainers":
        return path.name not in SHARED
    ours = (HERE / "caspl", HERE / "datasets", HERE / "engine")
    known = path == HERE / "train.py" or any(folder in path.parents for folder in ours)
    return not known and not _of_the_engine(path) and not _of_a_library(path) and path.is_file()
