"""The four renderings of one table."""

import csv
import io

import pytest

from caspl.results.tables import FORMATS, Figure, Table

TABLE = Table(
    "Some_Data",
    ["method", "base", "seeds"],
    [
        ["CoOp", Figure(80.126, 0.5), "3"],
        ["CasPL_CoOp", Figure(7.0), "1"],
        ["CasPL_CoOp - CoOp", Figure(-73.126, signed=True), "-"],
        ["a|b", Figure(None), "1"],
    ],
)


def test_text_is_aligned() -> None:
    assert FORMATS["text"]([TABLE], "A note.").splitlines() == [
        "Some_Data",
        "method                     base  seeds",
        "--------------------------------------",
        "CoOp               80.13 ± 0.50  3",
        "CasPL_CoOp                 7.00  1",
        "CasPL_CoOp - CoOp        -73.13  -",
        "a|b                           -  1",
        "",
        "A note.",
    ]


def test_text_tables_share_their_widths() -> None:
    short = Table("Other", TABLE.columns, [["X", Figure(1.0), "1"]])
    lines = FORMATS["text"]([TABLE, short], "").splitlines()
    assert lines[-1] == "X                          1.00  1"


def test_markdown() -> None:
    assert FORMATS["markdown"]([TABLE], "A note.").splitlines() == [
        "### Some_Data",
        "",
        "| method | base | seeds |",
        "|---|---:|---|",
        "| CoOp | 80.13 ± 0.50 | 3 |",
        "| CasPL_CoOp | 7.00 | 1 |",
        "| CasPL_CoOp - CoOp | -73.13 | - |",
        "| a\\|b | - | 1 |",
        "",
        "A note.",
    ]


def test_csv_is_one_table_in_full_precision() -> None:
    text = FORMATS["csv"]([TABLE, Table("Other", TABLE.columns, [["X", Figure(1 / 3), "1"]])], "A note.")
    assert "note" not in text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[0] == {"table": "Some_Data", "method": "CoOp", "base": "80.126", "base spread": "0.5", "seeds": "3"}
    assert (rows[1]["base spread"], rows[2]["seeds"], rows[3]["base"]) == ("", "", "")
    assert (rows[4]["table"], float(rows[4]["base"])) == ("Other", 1 / 3)


def test_latex() -> None:
    assert FORMATS["latex"]([TABLE], "A note.").splitlines() == [
        "% Some_Data",
        r"\begin{tabular}{lrl}",
        r"  \hline",
        r"  method & base & seeds \\",
        r"  \hline",
        r"  CoOp & $80.13 \pm 0.50$ & 3 \\",
        r"  CasPL\_CoOp & $7.00$ & 1 \\",
        r"  CasPL\_CoOp - CoOp & $-73.13$ & - \\",
        r"  a|b & - & 1 \\",
        r"  \hline",
        r"\end{tabular}",
        "",
        "% A note.",
    ]


@pytest.mark.parametrize(("value", "shown"), [(1.0, "+1.00"), (-1.0, "-1.00"), (None, "-")])
def test_a_difference_has_a_sign(value: float | None, shown: str) -> None:
    assert Figure(value, signed=True).text() == shown
