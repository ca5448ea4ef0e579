"""How the plug-in speaks in a program that is not ours: lines on stdout, and one sentence for wrong input."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from types import TracebackType

from caspl.dassl.plugin.clash import whose_config
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
        _say("error", str(error))
        return
    _installed[0](kind, error, trace)
    sentence = next((str(cause) for cause in _causes(error) if isinstance(cause, CasPLError)), "")
    if sentence:  # a program that raises something of its own about our sentence: it stays the last word
        _say("error", sentence)
    elif whose := whose_config(error):
        _say("note", whose)


def _say(kind: str, words: str) -> None:
    print(f"{kind}:", " ".join(words.split()), file=sys.stderr)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What an error was raised from, or while; each once."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
