"""Draws tinysat.svg from the measured table of docs/results.md: ``python docs/images/tinysat.py``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from shapes import picture, write  # noqa: E402

FILE = HERE / "tinysat.svg"
TABLE = HERE.parent / "results.md"
HEADING = "## TinySat: base to new"
CONFIG = "tiny"
MEASURES = ("base", "new", "HM")
Figure = tuple[float, float]
"""Mean and spread; 0 for one seed."""


def figures(document: str) -> dict[str, dict[str, Figure]]:
    """Method -> measure -> figure, of the shipped config, from the first table below the heading."""
    section = document[document.index(HEADING) :]
    rows = [[cell.strip() for cell in line.strip("|\n ").split("|")] for line in re.findall(r"^\|.*$", section, re.M)]
    head = rows[0]
    found: dict[str, dict[str, Figure]] = {}
    for row in rows[2:]:
        if row == head:  # the next table
            break
        cells = dict(zip(head, row, strict=False))
        if len(row) != len(head) or cells["config"] != CONFIG or " - " in cells["method"]:
            continue
        parts = {name: cells[name].split(" ± ") for name in MEASURES}
        found[cells["method"]] = {name: (float(one[0]), float((one + ["0"])[1])) for name, one in parts.items()}
    return found


def draw() -> str:
    """The text of the file."""
    found = figures(TABLE.read_text(encoding="utf-8"))
    methods = [name for name in found if f"CasPL_{name}" in found]
    values = [value + sign * spread for of in found.values() for value, spread in of.values() for sign in (-1, 1)]
    low, high = 5 * (min(values) // 5), 5 * -(-max(values) // 5)
    left, width, gap, top, step = 122, 228, 44, 78, 30
    bottom = top + step * len(methods)
    parts = [
        write(20, 32, "TinySat: base to new classes, 16 images a class", "ink title", "start"),
        write(20, 52, "accuracy in %; bars: standard deviation over seeds", "soft", "start"),
    ]
    for place, measure in enumerate(MEASURES):
        start = left + place * (width + gap)

        def at(value: float, start: float = start) -> float:
            return start + width * (value - low) / (high - low)

        parts.append(write(start + width / 2, top - 4, measure, "ink bold"))
        for tick in range(int(low), int(high) + 1, 5):
            parts.append(f'<line class="line" x1="{at(tick):g}" x2="{at(tick):g}" y1="{top + 4}" y2="{bottom + 4}" '
                         'stroke-width="0.7" opacity="0.3"/>')  # fmt: skip
            parts.append(write(at(tick), bottom + 20, str(tick), "soft small"))
        for number, method in enumerate(methods):
            y = top + step * (number + 0.5) + 4
            if place == 0:
                parts.append(write(left - 12, y + 4.5, method, "ink", "end"))
            for name, kind, move in ((method, "words", -5), (f"CasPL_{method}", "learned", 5)):
                value, spread = found[name][measure]
                if spread:
                    parts.append(f'<line class="line" x1="{at(value - spread):.1f}" x2="{at(value + spread):.1f}" '
                                 f'y1="{y + move:g}" y2="{y + move:g}" stroke-width="1.3"/>')  # fmt: skip
                shape = f'cx="{at(value):.1f}" cy="{y + move:g}" r="5"'
                parts.append(f'<circle class="{kind}" {shape} stroke-width="1.3"/>')
    height = bottom + 62
    for x, kind, text in (
        (left, "words", "the method X"),
        (left + 130, "learned", "CasPL_X: X in front of boosting tokens"),
    ):
        parts.append(f'<circle class="{kind}" cx="{x}" cy="{height - 20}" r="5" stroke-width="1.3"/>')
        parts.append(write(x + 12, height - 15.5, text, "soft", "start"))
    told = "; ".join(
        f"{method} {found[method]['HM'][0]:.2f}, CasPL_{method} {found[f'CasPL_{method}']['HM'][0]:.2f}"
        for method in methods
    )
    says = f"Accuracy of each method with and without boosting tokens. HM: {told}."
    return picture(left + 3 * (width + gap), height, "Measured on TinySat", says, parts)


if __name__ == "__main__":
    FILE.write_text(draw(), encoding="utf-8")
