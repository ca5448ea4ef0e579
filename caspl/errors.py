"""The one exception that means: the user can mend this.

Raised with a sentence that names the thing that is wrong and the way out. Command lines print that sentence
without a traceback and exit with code 2; every other exception is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

LONGEST = 4000
"""Characters of a sentence."""


class CasPLError(Exception):
    """Wrong input: a missing file, a foreign checkpoint, a student that does not fit, ..."""

    def __str__(self) -> str:
        text = super().__str__()
        # Where a file is quoted, it may have lines, and of a million characters.
        text = " ".join(text.split()) if "\n" in text else text
        return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, for use in a sentence; its type's name where it has no text.

    Of what torch or pickle say of a file that holds objects, which would only advise to run it, ours is given instead.
    """
    if isinstance(error, pickle.UnpicklingError):
        return "it is damaged, or holds more than tensors and plain values, which is not run"
    return next(iter(str(error).splitlines()), "") or type(error).__name__


class OthersFailed(CasPLError):
    """Another process of the same run has refused to go on, and has said why."""


@contextmanager
def advising(advice: str) -> Iterator[None]:
    """Let a sentence from inside end with advice that only the caller can give, such as which switch to turn."""
    try:
        yield
    except OthersFailed:
        raise
    except CasPLError as error:
        raise CasPLError(f"{error}; {advice}") from error


def hint(name: str, known: Iterable[str], more: str = "") -> str:
    """What to say of a name that is not known: the nearest of those that are, or all of them.

    Args:
        more: what else there could be, behind all of them.
    """
    known = list(known)
    found = near(name, known)
    return f"did you mean {found[0]}?" if found else f"there are {', '.join(known)}{more}"


def near(name: str, known: Iterable[str], most: int = 1) -> list[str]:
    """Those of the known names that are spelled nearly so, whatever their capitals, the nearest first."""
    lower = {one.lower(): one for one in known}
    return [lower[found] for found in difflib.get_close_matches(name.lower(), lower, n=most)]
