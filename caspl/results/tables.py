"""Tables of texts and figures, as aligned text, Markdown, CSV or LaTeX. What they show is not known here."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MISSING = "-"


@dataclass(frozen=True)
class Figure:
    """A number with its spread, if it has one; ``signed`` for a difference."""

    value: float | None
    spread: float | None = None
    signed: bool = False

    def text(self, plus_minus: str = " ± ") -> str:
        """Two decimals, as in the papers; "-" for no value."""
        if self.value is None:
            return MISSING
        number = f"{self.value:+.2f}" if self.signed else f"{self.value:.2f}"
        return number if self.spread is None else f"{number}{plus_minus}{self.spread:.2f}"


Cell = str | Figure


@dataclass(frozen=True)
class Table:
    """A titled table; tables that are rendered together have the same columns."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def as_text(tables: Sequence[Table], note: str = "") -> str:
    """Columns aligned with blanks: texts to the left, figures to the right; the same widths in all tables."""
    columns = tables[0].columns
    body = [[_shown(cell) for cell in row] for table in tables for row in table.rows]
    widths = [max(len(cells[i]) for cells in [list(columns), *body]) for i in range(len(columns))]
    right = _numeric(tables)

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if aligned else cell.ljust(width)
            for cell, width, aligned in zip(cells, widths, right, strict=True)
        ]
        return "  ".join(padded).rstrip()

    blocks = []
    for table in tables:
        head = line(table.columns)
        lines = [table.title, head, "-" * (sum(widths) + 2 * (len(widths) - 1))]
        blocks.append("\n".join(lines + [line([_shown(cell) for cell in row]) for row in table.rows]))
    return "\n\n".join([*blocks, note] if note else blocks) + "\n"


def as_markdown(tables: Sequence[Table], note: str = "") -> str:
    """One Markdown table under a heading each."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    right = _numeric(tables)
    rule = "|" + "|".join("---:" if aligned else "---" for aligned in right) + "|"
    blocks = []
    for table in tables:
        lines = [f"### {table.title}", "", line(table.columns), rule]
        blocks.append("\n".join(lines + [line([_shown(cell) for cell in row]) for row in table.rows]))
    return "\n\n".join([*blocks, note] if note else blocks) + "\n"


def as_csv(tables: Sequence[Table], note: str = "") -> str:
    """All tables as one, the title as the first column; figures in full, each spread in a column of its own."""
    del note  # a CSV file has no place for it
    right = _numeric(tables)
    head = ["table"]
    for name, numeric in zip(tables[0].columns, right, strict=True):
        head += [name, f"{name} spread"] if numeric else [name]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    for table in tables:
        for row in table.rows:
            cells: list[str | float | None] = [table.title]
            for cell in row:
                if isinstance(cell, Figure):
                    cells += [cell.value, cell.spread]
                else:
                    cells.append("" if cell == MISSING else cell)
            writer.writerow(cells)
    return out.getvalue()


def as_latex(tables: Sequence[Table], note: str = "") -> str:
    """One ``tabular`` each, in plain LaTeX without packages."""

    def line(cells: Sequence[str]) -> str:
        return "  " + " & ".join(cells) + r" \\"

    def shown(cell: Cell) -> str:
        if isinstance(cell, str):
            return _escaped(cell)
        # In math mode a sign is a sign and no hyphen; a missing figure stays text.
        return MISSING if cell.value is None else "$" + cell.text(r" \pm ") + "$"

    layout = "".join("r" if aligned else "l" for aligned in _numeric(tables))
    blocks = []
    for table in tables:
        lines = [f"% {table.title}", rf"\begin{{tabular}}{{{layout}}}", r"  \hline"]
        lines += [line([_escaped(name) for name in table.columns]), r"  \hline"]
        lines += [line([shown(cell) for cell in row]) for row in table.rows]
        blocks.append("\n".join([*lines, r"  \hline", r"\end{tabular}"]))
    return "\n\n".join([*blocks, f"% {note}"] if note else blocks) + "\n"


FORMATS: dict[str, Callable[[Sequence[Table], str], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "csv": as_csv,
    "latex": as_latex,
}


def print_text(text: str) -> None:
    """To the screen, also where it cannot show the sign of the spread."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = text.replace("±", "+-").encode("ascii", "replace").decode()
    sys.stdout.write(text)


def _shown(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell.text()


def _numeric(tables: Sequence[Table]) -> list[bool]:
    """Which columns hold figures."""
    rows = [row for table in tables for row in table.rows]
    return [any(isinstance(row[i], Figure) for row in rows) for i in range(len(tables[0].columns))]


def _escaped(text: str) -> str:
    for sign in "_&%#$":
        text = text.replace(sign, "\\" + sign)
    return text
