"""``python -m caspl.results confusion``: pictures and the most confused pairs."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from caspl.results.__main__ import main
from caspl.results.answers import write_confusion
from caspl.results.confusion import Confusion, read_confusion
from caspl.results.report import matrix, plot

NAMES = ["annual crop", "$sea$", '<b>&"river, \x1b']


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Five of the sea are taken for a river, one crop for the sea."""
    labels, answers = [0, 0, 1, 1, 1, 1, 1, 2], [0, 1, 2, 2, 2, 2, 2, 2]
    write_confusion(tmp_path / "confusion.csv", labels, answers, NAMES)
    return tmp_path


def texts(file: Path) -> list[str]:
    return ["".join(one.itertext()).strip() for one in ElementTree.parse(file).iter("{http://www.w3.org/2000/svg}text")]


def test_the_picture_has_all_names_and_counts(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["confusion", str(run), "-o", str(run / "new/confusion.svg")]) == 0
    found = texts(run / "new/confusion.svg")
    assert (
        found.count("annual crop") == found.count("$sea$") == found.count('<b>&"river, \N{REPLACEMENT CHARACTER}') == 2
    )
    assert sorted(one for one in found if one.isdecimal()) == ["1", "1", "1", "5"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split(maxsplit=3) == ["5", "of", "5", f"$sea$ taken for {NAMES[2]}"]
    assert lines[2].endswith("annual crop taken for $sea$")
    assert len(lines) == 3


def test_the_same_counts_make_the_same_bytes(run: Path) -> None:
    for name in ("one.svg", "two.svg", "one.pdf", "two.pdf"):
        assert main(["confusion", str(run / "confusion.csv"), "-o", str(run / name)]) == 0
    assert (run / "one.svg").read_bytes() == (run / "two.svg").read_bytes()
    assert (run / "one.pdf").read_bytes() == (run / "two.pdf").read_bytes()
    assert (run / "one.pdf").read_bytes().startswith(b"%PDF")


def test_right_answers_and_errors_have_colours_of_their_own(run: Path) -> None:
    """The picture's rows are classes: what was asked, from the top."""
    assert main(["confusion", str(run), "-o", str(run / "c.png")]) == 0
    with Image.open(run / "c.png") as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(2**24) or []}
    assert matrix.RIGHT in colours
    assert matrix.WRONG in colours


@pytest.mark.parametrize(("count", "named", "counted"), [(20, True, True), (100, True, False), (101, False, False)])
def test_names_as_long_as_they_can_be_read(count: int, named: bool, counted: bool) -> None:
    names = [f"class {number}" for number in range(count)]
    counts = [[7 * (row == column) for column in range(count)] for row in range(count)]
    with plot.style():
        (axes,) = matrix.draw(Confusion(names, counts)).axes
    assert [one.get_text() for one in axes.get_yticklabels()] == (names if named else [])
    assert len(axes.texts) == (count if counted else 0)


def test_evaluations(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "evaluations").mkdir()
    (run / "confusion.csv").rename(run / "evaluations/EuroSAT-new-confusion.csv")
    assert main(["confusion", str(run), "--pairs", "1"]) == 0
    assert capsys.readouterr().out.count("taken for") == 1
    assert main(["confusion", str(run), "--pairs", "0"]) == 0
    assert capsys.readouterr().out == ""
    write_confusion(run / "evaluations/EuroSAT-base-confusion.csv", [0], [0], ["a"])
    assert main(["confusion", str(run)]) == 2
    assert "say which: " in capsys.readouterr().err
    assert main(["confusion", str(run / "evaluations/EuroSAT-base-confusion.csv")]) == 0
    assert capsys.readouterr().out == "no image was taken for another class\n"


@pytest.mark.parametrize(
    "content", ["", "x", "c,a,b\na,1,2\n", "c,a\nb,1\n", "c,a\na,-1\n", "c,a\na,1.5\n", "c,a\na,1,2\n"]
)
def test_what_is_no_matrix(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "confusion.csv").write_text(content)
    assert main(["confusion", str(tmp_path), "-o", str(tmp_path / "c.svg")]) == 2
    printed = capsys.readouterr()
    assert "is no confusion matrix" in printed.err
    assert (printed.err.count("\n"), printed.out) == (1, "")
    assert not (tmp_path / "c.svg").exists()


@pytest.mark.parametrize(
    ("output", "says"),
    [("c.gif", "end it with .svg, .png, .pdf"), ("d.svg", "it is a folder"), ("f/c.svg", "cannot write")],
)
def test_wrong_outputs(output: str, says: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "d.svg").mkdir()
    (run / "f").write_text("")
    assert main(["confusion", str(run), "-o", str(run / output)]) == 2
    assert says in capsys.readouterr().err


def test_without_a_matrix_it_says_how_to_get_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["confusion", str(tmp_path)]) == 2
    assert "TEST.COMPUTE_CMAT True" in capsys.readouterr().err
    assert main(["confusion", str(tmp_path / "nowhere")]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_pairs_need_no_drawing(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["confusion", str(run)]) == 0
    assert main(["confusion", str(run), "-o", str(run / "c.svg")]) == 2
    assert "a picture needs matplotlib: pip install '.[report]'" in capsys.readouterr().err


def test_numbers_are_read_as_written(run: Path) -> None:
    found = read_confusion(run / "confusion.csv")
    assert found == Confusion(NAMES, [[1, 1, 0], [0, 0, 5], [0, 0, 1]])
    assert found.pairs(1) == [("$sea$", NAMES[2], 5, 5)]
