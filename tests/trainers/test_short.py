"""Methods stay short: what two of them share is written once, elsewhere."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import trainers

FILES = sorted(Path(trainers.__file__).parent.glob("*.py"))
RUN = 6


def code(path: Path) -> list[str]:
    """Lines that say something, imports aside."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if len(line) > 1 and not line.startswith(("#", "import ", "from "))]


def test_no_run_of_six_lines_stands_in_two_files() -> None:
    places = defaultdict(set)
    for path in FILES:
        lines = code(path)
        for start in range(len(lines) - RUN + 1):
            places[tuple(lines[start : start + RUN])].add(path.name)
    assert [found for found in places.values() if len(found) > 1] == []


def test_methods_are_short() -> None:
    methods = [path for path in FILES if "@register" in path.read_text(encoding="utf-8").splitlines()]
    assert len(methods) > 8
    assert [path.name for path in methods if len(code(path)) > 120] == []
