"""What a run says: on the console, and in ``log.txt``.

Two ways lead into the log file. The engine speaks through the logger ``dassl`` of :mod:`logging`; whatever a
trainer prints passes through a tee in place of ``sys.stdout``. Both arrive in the file as plain lines, since
the parse scripts of the field compare whole lines. The console shows the engine's lines with the time in
front, and warnings as such, once a log file is open; before that they look like prints.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO, cast

from tqdm import tqdm

__all__ = ["Logger", "close_logger", "logger", "setup_logger", "speak_of_errors_alone"]

logger = logging.getLogger("dassl")


class Logger:
    """A text stream that repeats on the console what it writes into a file.

    Everything but writing is the console's: ``isatty``, ``encoding``, ``fileno``, ``buffer`` ...

    Args:
        fpath: the file, replaced if it exists; None writes to the console alone. Its folder is created.
        append: go on in the file instead.
    """

    def __init__(self, fpath: str | None = None, append: bool = False) -> None:
        self.console: TextIO = _console()
        self.path = None if fpath is None else os.path.abspath(fpath)
        self.file: TextIO | None = None
        if self.path is not None:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self.file = open(self.path, "a" if append else "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115

    def write(self, msg: str) -> int:
        """Write to both; return the number of characters."""
        with suppress(ValueError):  # the console was closed by its owner; the file goes on
            self.console.write(msg)
        self.write_file(msg)
        return len(msg)

    def write_file(self, msg: str) -> None:
        """Write to the file alone. Where the disk takes no more the console says so, once, and goes on by itself."""
        if self.file is None:
            return
        try:
            self.file.write(msg)
            # At once: a killed run keeps its log, and a forked worker inherits no unwritten text.
            self.file.flush()
        except OSError as error:
            self._give_up(self.file, error)

    def writelines(self, lines: Sequence[str]) -> None:
        """Write several strings to both."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush both, the file down to the disk."""
        with suppress(ValueError):
            self.console.flush()
        if self.file is None:
            return
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as error:
            self._give_up(self.file, error)

    def close(self) -> None:
        """Close the file. The console is not ours to close."""
        file, self.file = self.file, None
        if file is not None:
            file.close()

    def _give_up(self, file: TextIO, error: OSError) -> None:
        self.file = None
        with suppress(OSError):  # it tries once more to write what is left
            file.close()
        with suppress(ValueError):
            self.console.write(f"{self.path} takes no more lines: {error.strerror or error}\n")

    def __enter__(self) -> Logger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if name == "console":  # not set yet: copying and unpickling ask before __init__ has run
            raise AttributeError(name)
        return getattr(self.console, name)


def _console() -> TextIO:
    # Under a tee, lest every line be written twice.
    stream: Any = sys.stdout
    return stream.console if isinstance(stream, Logger) else stream


class _Handler(logging.Handler):
    """Sends records to the console of the moment, and to the log file while one is open."""

    tee: Logger | None = None
    # The file asked for; the open one may carry the time of day in its name.
    requested = ""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            stamp = ""
            if self.tee is not None:
                self.tee.write_file(f"{text}\n")
                stamp = time.strftime("%Y-%m-%d %H:%M:%S ", time.localtime(record.created))
                stamp += "warning: " if record.levelno >= logging.WARNING else ""
            # Looked up each time: tests and notebooks swap sys.stdout.
            stream = _console()
            # Progress bars step aside for the line.
            with suppress(ValueError), tqdm.external_write_mode(file=stream):
                stream.write(f"{stamp}{text}\n")
                stream.flush()
        except Exception:
            self.handleError(record)


_handler = _Handler()


def _attach(target: logging.Logger) -> None:
    target.addHandler(_handler)
    # Our handler is the console; a handler of the root logger would show every line twice.
    target.propagate = False
    if target.level == logging.NOTSET:
        target.setLevel(logging.INFO)


_attach(logger)


def speak_of_errors_alone(names: Sequence[str] = ()) -> None:
    """Let the engine's logger, and further ones, say nothing below errors: of several processes one speaks.

    Args:
        names: further loggers of :mod:`logging`.
    """
    for name in names:
        _attach(logging.getLogger(name))
    for target in (logger, *map(logging.getLogger, names)):
        target.setLevel(logging.ERROR)


def setup_logger(output: str | None = None, names: Sequence[str] = (), append: bool = False) -> None:
    """Repeat in a file what is printed and what the engine logs.

    An existing file is kept, and the time of day is added to the name of the new one. A second call with the
    same ``output`` in a process goes on with the file that is open; with another it closes that one first.

    Args:
        output: a ``.txt`` or ``.log`` file, or a folder that gets ``log.txt``; None does nothing.
        names: further loggers of :mod:`logging` that shall appear beside the engine's.
        append: go on in an existing file, as a resumed run does: whoever parses ``log.txt`` finds its end there.
    """
    if output is None:
        return
    for name in names:
        _attach(logging.getLogger(name))
    fpath = os.path.abspath(output if output.endswith((".txt", ".log")) else os.path.join(output, "log.txt"))
    tee = _handler.tee
    if tee is None or _handler.requested != fpath or not os.path.exists(str(tee.path)):
        close_logger()
        tee = Logger(fpath if append else _unused_name(fpath), append)
        _handler.tee, _handler.requested = tee, fpath
    if sys.stdout is not tee:
        tee.console = sys.stdout
        sys.stdout = cast("TextIO", tee)


def close_logger() -> None:
    """Undo :func:`setup_logger`: close the file and give ``sys.stdout`` back. Harmless without one."""
    tee, _handler.tee = _handler.tee, None
    if tee is None:
        return
    if cast("object", sys.stdout) is tee:
        sys.stdout = tee.console
    tee.close()


# Before the interpreter takes its streams apart.
atexit.register(close_logger)


def _unused_name(fpath: str) -> str:
    if not os.path.exists(fpath):
        return fpath
    stamped = fpath + time.strftime("-%Y-%m-%d-%H-%M-%S")
    names = itertools.chain([stamped], (f"{stamped}-{number}" for number in itertools.count(2)))
    return next(name for name in names if not os.path.exists(name))
