"""``caspl demo RUN``: a local page to try a model on, beside what it was made from."""

from __future__ import annotations

import argparse
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from caspl.commands.model import add_device, add_model, read_classes
from caspl.demo.columns import side_by_side
from caspl.demo.examples import drawn, of_folder
from caspl.demo.server import Server
from caspl.errors import CasPLError


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="caspl demo",
        description="Serve a page on this machine alone: drop a picture, edit the class names, and see the student, "
        "the boosted student, the cascade and the teacher side by side.",
    )
    add_model(made, computes=False)
    add_device(made)
    made.add_argument(
        "--teacher", metavar="CLIP", help="(default: that of the boosting file, if its weights are here); fetched"
    )
    made.add_argument("--no-teacher", action="store_true", help="leave it out")
    made.add_argument(
        "--template", default="", metavar="TEXT", help="of the columns without tokens (default: the boosting file's)"
    )
    made.add_argument("--examples", type=Path, metavar="DIR", help="pictures to choose from (default: drawn ones)")
    made.add_argument("--port", type=int, default=0, metavar="N", help="(default: any that is free)")
    made.add_argument("--open", action="store_true", help="open it in the browser")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command until Ctrl-C; returns the exit code."""
    options = parser().parse_args(arguments)
    if options.examples is not None and not options.examples.is_dir():
        raise CasPLError(f"there is no folder of pictures {options.examples}")
    with serve(options) as server:
        print(f"{server.url}\nfor this machine alone; Ctrl-C ends it", flush=True)
        if options.open:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


def serve(options: argparse.Namespace) -> Server:
    """The server of what the arguments name, not yet serving."""
    shown = side_by_side(
        *(options.run, options.student, read_classes(options.classes), options.epoch, options.device),
        *(options.precision, "" if options.no_teacher else options.teacher, options.template),
    )
    examples = drawn() if options.examples is None else of_folder(options.examples)
    return Server(shown, examples, options.run, options.port)
