"""``python -m caspl.results report [FOLDER] -o report.html``: all tables and pictures as one page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from caspl.results.words import answer, require

NEEDS = ("jinja2", "matplotlib")
"""Libraries."""


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="python -m caspl.results report",
        description="Write one page with all tables of all protocols, the paper's figures beside them, curves and "
        "other pictures, and what each run left. The page is one file that asks for nothing else. It takes the extra "
        "[report].",
        epilog="Without this word python -m caspl.results takes a folder; one that is called report is ./report there.",
    )
    made.add_argument("folder", nargs="?", default="output", metavar="FOLDER", help="where runs lie (default: output)")
    made.add_argument("-o", "--output", default="report.html", metavar="FILE", help="(default: report.html)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 2 with one sentence on stderr where there is nothing to show."""
    options = parser().parse_args(arguments)
    return answer(lambda: _page(options.folder), options.output)


def _page(folder: str) -> str:
    require("a report", *NEEDS)
    from caspl.results.report.page import page  # late: the sentence above comes first

    return page(folder)
