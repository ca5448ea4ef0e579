"""Whose an error is: a sentence for a wrong setting or a broken file, but a bug keeps its traceback.

It is theirs whose code ran last, libraries aside: what torch raises is its caller's.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import caspl
import dassl
from caspl.errors import CasPLError, first_line

LIBRARY, ENGINE = Path(caspl.__file__).resolve().parent, Path(dassl.__file__).resolve().parent


@contextmanager
def refused(sentence: str, shared: Sequence[Path] = ()) -> Iterator[None]:
    """Say an error of the engine's, or of shared code, as a sentence; anybody else's stays what it is.

    Args:
        sentence: with ``{}`` for the error's own words.
        shared: files and folders that are nobody's method.

    Raises:
        CasPLError: in place of the error.
    """
    try:
        yield
    except CasPLError:
        raise
    except Exception as error:  # every reader and every registry has its own exceptions
        last = _last(error)
        if last is None or not any(last.is_relative_to(place) for place in (ENGINE, *shared)):
            raise
        raise CasPLError(sentence.format(first_line(error))) from error


def _last(error: BaseException) -> Path | None:
    """The file of the innermost frame that is no library's."""
    files = [Path(frame.filename).resolve() for frame in traceback.extract_tb(error.__traceback__)]
    return next((path for path in reversed(files) if not _of_others(path)), None)


def _of_others(path: Path) -> bool:
    if path.is_relative_to(ENGINE) or path.is_relative_to(LIBRARY):
        return False
    installed = any(part in ("site-packages", "dist-packages") for part in path.parts)
    return installed or path.is_relative_to(Path(sys.base_prefix)) or not path.is_file()
