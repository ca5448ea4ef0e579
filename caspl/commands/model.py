"""Which model a command means: the arguments that all of them share."""

from __future__ import annotations

import argparse
from pathlib import Path

from caspl.errors import CasPLError
from caspl.predictor import Predictor, load
from caspl.predictor.predictor import BATCH, PRECISIONS


def add_model(made: argparse.ArgumentParser, computes: bool = True) -> None:
    """The run and how it is loaded; with ``computes`` also where it computes."""
    made.add_argument(
        "run", metavar="RUN", help="run's folder, checkpoint, boosting file, exported predictor or hf://..."
    )
    made.add_argument("--classes", nargs="+", metavar="NAME", help="other classes; one .txt file names one a line")
    made.add_argument("--student", metavar="CLIP", help="the student, where the name in the file does not lead to it")
    made.add_argument("--epoch", type=int, metavar="N", help="of the run (default: the best, else the last)")
    if computes:
        add_device(made)
        made.add_argument("--batch-size", type=int, default=BATCH, metavar="N", help="(default: %(default)s)")


def add_device(made: argparse.ArgumentParser) -> None:
    """Where and how it computes."""
    made.add_argument("--device", help="cpu, cuda, ... (default: a GPU if there is one)")
    made.add_argument("--precision", default="fp32", choices=list(PRECISIONS), help="(default: fp32)")


def load_model(options: argparse.Namespace) -> Predictor:
    """The predictor that the arguments name."""
    device, precision = getattr(options, "device", "cpu"), getattr(options, "precision", "fp32")
    return load(options.run, options.student, read_classes(options.classes), options.epoch, device, precision)


def read_classes(given: list[str] | None) -> list[str] | None:
    """Class names as given, or the lines of the one ``.txt`` file that is named.

    Raises:
        CasPLError: if that file cannot be read, or is empty.
    """
    if given is None or len(given) != 1 or not given[0].endswith(".txt"):
        return given
    try:
        lines = Path(given[0]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise CasPLError(f"the class names in {given[0]} cannot be read: {why}") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise CasPLError(f"{given[0]} holds no class names; write one a line")
    return names
