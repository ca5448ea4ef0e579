"""The tables of what has run, each printed by its command, and the page of all of them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from caspl.protocols import Part
from caspl.protocols.tables import ABLATIONS
from caspl.results.report.command import NEEDS

REPO = Path(__file__).resolve().parents[1]
CHOSEN = "chosen"
"""The table of settings that are chosen on validation images."""


def commands(parts: Sequence[Part], output: Path) -> list[list[str]]:
    """The arguments of ``python -m`` that show these parts, none twice."""
    made: list[list[str]] = []
    for part in parts:
        protocol = part.requests[0].protocol
        if part.ablations:
            made.append(["caspl.results.ablations", str(output / ABLATIONS), *part.ablations, "--table", part.shown])
            continue
        # Where its trainings are another protocol's they lie elsewhere.
        folder = output / protocol.name if protocol.folder.startswith(protocol.name) else output
        names = dict.fromkeys(name for request in part.requests for name in request.methods)
        chosen = ["--trainer", *names] if names else []
        for table in [protocol.name, *[CHOSEN] * part.chosen]:
            made.append(["caspl.results", str(folder), "--table", table, *chosen])
    return [line for number, line in enumerate(made) if line not in made[:number]]


def tables(parts: Sequence[Part], output: Path) -> int:
    """Print them; of several parts, write the page too. Returns the first exit code that is not 0, or 0."""
    lines = commands(parts, output)
    codes = []
    for number, line in enumerate(lines):
        if len(lines) > 1:
            print(f"{chr(10) * bool(number)}# python -m {' '.join(line)}\n", flush=True)
        codes.append(_call(line))
    if len(lines) > 1:
        codes.append(_page(output))
    return next((code for code in codes if code), 0)


def _page(output: Path) -> int:
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        print(f"\nno {output / 'report.html'}, for want of {missing[0]}: pip install '.[report]'", file=sys.stderr)
        return 0
    return _call(["caspl.results", "report", str(output), "-o", str(output / "report.html")])


def _call(line: Sequence[str]) -> int:
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(REPO), environment.get("PYTHONPATH", ""))))
    return subprocess.run([sys.executable, "-m", *line], env=environment, check=False).returncode
