"""How the plug-in speaks in a program that is not ours: lines on stdout, and one sentence for wrong input."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import TracebackType

from caspl.errors import CasPLError


class _Stdout(logging.Handler):
    """Prints to whatever ``sys.stdout`` is by then: Dassl replaces it by one that writes into ``log.txt`` too."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)


def speak() -> None:
    """Show what ``caspl`` says on stdout, unless the program logs it, and end with one sentence, not a traceback.

    The original Dassl, when imported, turns all logging up to warnings off; that is undone.
    """
    logging.disable(logging.NOTSET)
    logger = logging.getLogger("caspl")
    if not logger.handlers:
        logger.addHandler(_Stdout())
        logger.setLevel(logging.INFO)
        logger.propagate = False
    if not _installed:
        _installed.append(sys.excepthook)
        sys.excepthook = _one_sentence


_installed: list[Callable[[type[BaseException], BaseException, TracebackType | None], object]] = []
"""The hook that was there before ours."""


def _one_sentence(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, CasPLError):
        print("error:", " ".join(str(error).split()), file=sys.stderr)
    else:
        _installed[0](kind, error, trace)
