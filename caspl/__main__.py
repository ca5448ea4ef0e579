"""``caspl COMMAND ...``, also ``python -m caspl``: every command of the library behind one name."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from caspl import __version__
from caspl.errors import CasPLError, hint

COMMANDS = {
    "fit": ("caspl.commands.fit", "from a folder of pictures to a trained model"),
    "predict": ("caspl.commands.predict", "the likeliest classes of pictures"),
    "evaluate": ("caspl.commands.evaluate", "accuracy, confusion and calibration on a folder of labelled pictures"),
    "calibrate": ("caspl.commands.calibrate", "probabilities that mean what they say, from validation pictures"),
    "info": ("caspl.commands.info", "what a run, a boosting file or a predictor is"),
    "export": ("caspl.commands.export", "a predictor without its run, also as ONNX"),
    "demo": ("caspl.commands.demo", "a local page to try it on, beside what it was made from"),
    "data": ("caspl.data.__main__", "the published data sets: list, check, prepare; check a folder of your own"),
    "convert": ("caspl.convert.__main__", "published checkpoints of CasPL, CoOp, CoCoOp, MaPLe, PromptSRC into ours"),
    "store": ("caspl.store.__main__", "kept features of a frozen encoder: build, info, verify"),
    "results": ("caspl.results.__main__", "tables of runs"),
}
"""Name -> the module whose ``main`` takes the arguments behind it, and what it is for."""


def usage() -> str:
    """What ``caspl --help`` says."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(["usage: caspl COMMAND ...", "", *lines, "", "caspl COMMAND --help says more of each."])


@contextmanager
def _interruption_ends() -> Iterator[None]:
    """Let Ctrl-C end the program at once: modules that are interrupted while they load fail in ways of their own."""

    def end(*_: object) -> None:
        os.write(2, b"interrupted\n")
        os._exit(130)

    mine = threading.current_thread() is threading.main_thread()  # nobody else may
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code, 2 for wrong input."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(usage())
        return 0 if given else 2
    if given[0] == "--version":
        print(f"caspl {__version__}")
        return 0
    name, *rest = given
    try:
        if name not in COMMANDS:
            raise CasPLError(f"caspl has no command {name!r}: {hint(name, COMMANDS)}")
        with _interruption_ends():
            command = importlib.import_module(COMMANDS[name][0])
        return int(command.main(rest))
    except CasPLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # head has seen enough
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
