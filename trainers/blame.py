"""Whose an error is: a sentence for a wrong setting or a broken file, but a user's bug keeps its traceback."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caspl.errors import CasPLError, first_line

HERE = Path(__file__).resolve().parents[1]


def is_users_own(error: BaseException) -> bool:
    """Whether code that is neither ours nor an installed library's took part: a plug-in's, or a method's in here."""
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    return any(_of_a_user(path.resolve()) for path in files)


@contextmanager
def settings_refused() -> Iterator[None]:
    """The engine's words for a setting that it cannot work with, as a sentence.

    Raises:
        CasPLError: in place of what the engine raises.
    """
    try:
        yield
    except (ValueError, AssertionError, KeyError, TypeError) as error:
        if is_users_own(error):
            raise
        raise CasPLError(f"the trainer cannot be built with this config: {first_line(error)}") from error


def _of_a_user(path: Path) -> bool:
    if path.parent == HERE / "trainers":
        return path.name not in OURS
    if any(part in ("site-packages", "dist-packages") for part in path.parts):
        return False
    ours = path == HERE / "train.py" or any((HERE / name) in path.parents for name in ("caspl", "datasets", "engine"))
    return not ours and not path.is_relative_to(Path(sys.base_prefix)) and path.is_file()


OURS = {"base.py", "blame.py", "boosted.py", "config.py", "recorder.py", "registry.py", "session.py"}
"""What is no method in this folder."""
