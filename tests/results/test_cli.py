"""``python -m caspl.results``, mostly in-process."""

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import caspl
from caspl.results.__main__ import main
from caspl.results.record import RunRecord
from tests.results.made import pair, record, write_all


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    records: list[RunRecord] = [
        *pair(60.0, 40.0),
        *pair(70.0, 50.0, seed=2),
        *pair(80.0, 60.0, trainer="CasPL_CoOp", shots=4),
        *pair(50.0, 50.0, trainer="ZeroshotCLIP", shots=-1),
        record(30.0, dataset="DescribableTextures"),
    ]
    return write_all(tmp_path, records)


def methods(text: str) -> set[str]:
    return {row["method"] for row in csv.DictReader(io.StringIO(text))}


def test_prints_the_table(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(runs), "--dataset", "EuroSAT", "--trainer", "CoOp"]) == 0
    printed = capsys.readouterr()
    # single HMs 48 and 58.33; HM of the means 65 and 45
    assert "CoOp    65.00 ± 7.07  45.00 ± 7.07  53.18 ± 7.31  2" in printed.out
    assert "sample standard deviation" in printed.out
    assert printed.err == ""


def test_the_default_folder_is_output(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.joinpath("runs").rename(runs / "output")
    monkeypatch.chdir(runs)
    assert main([]) == 0
    assert "EuroSAT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("form", "start"),
    [
        ("text", "DescribableTextures\n"),
        ("markdown", "### Des"),
        ("csv", "table,method,config,shots,base,"),
        ("latex", "% "),
    ],
)
def test_formats(runs: Path, capsys: pytest.CaptureFixture[str], form: str, start: str) -> None:
    assert main([str(runs), "--format", form, "--paper", "--difference"]) == 0
    assert capsys.readouterr().out.startswith(start)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--shots", "16"], {"CoOp", "ZeroshotCLIP"}),
        (["--shots", "4"], {"CasPL_CoOp", "ZeroshotCLIP"}),
        (["--trainer", "coop", "CasPL_CoOp"], {"CoOp", "CasPL_CoOp"}),
        (["--dataset", "dtd"], {"CoOp"}),
        (["--dataset", "eurosat"], {"CoOp", "CasPL_CoOp", "ZeroshotCLIP"}),
    ],
)
def test_choices(runs: Path, capsys: pytest.CaptureFixture[str], options: list[str], expected: set[str]) -> None:
    assert main([str(runs), *options, "--format", "csv"]) == 0
    assert methods(capsys.readouterr().out) == expected


def test_writes_a_file(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = runs / "new" / "table.md"
    assert main([str(runs), "--format", "markdown", "--output", str(target)]) == 0
    assert capsys.readouterr().out == ""
    assert "65.00 ± 7.07" in target.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("make", "options", "says"),
    [
        ([], [], "no run records"),
        ([record(classes="all", protocol="boosting")], [], "fits the choice; there are dataset: EuroSAT"),
        ([record()], ["--shots", "4"], "fits the choice; there are dataset: EuroSAT; trainer: CoOp; shots: 16"),
    ],
)
def test_nothing_to_show_is_one_sentence_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: list[RunRecord], options: list[str], says: str
) -> None:
    assert main([str(write_all(tmp_path, make)), *options]) == 2
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_no_such_folder_is_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "code"), [(["--help"], 0), (["--format", "word"], 2), (["--shots", "many"], 2)])
def test_argparse_answers(capsys: pytest.CaptureFixture[str], options: list[str], code: int) -> None:
    with pytest.raises(SystemExit) as caught:
        main(options)
    assert caught.value.code == code
    assert "--difference" in "".join(capsys.readouterr())


def test_as_a_module_it_needs_no_torch_and_no_wide_character_set(runs: Path) -> None:
    (runs / "result.json").write_text("{")
    # A module that is None cannot be imported: this fails as soon as anything asks for torch.
    code = "import runpy, sys; sys.modules['torch'] = None; sys.modules['numpy'] = None; "
    code += "runpy.run_module('caspl.results', run_name='__main__')"
    command = [sys.executable, "-c", code, str(runs)]
    root = Path(caspl.__file__).parents[1]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert "65.00 +- 7.07" in done.stdout
    assert done.stderr.startswith("left out: ")
    assert str(runs / "result.json") in done.stderr
