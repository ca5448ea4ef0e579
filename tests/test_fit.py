"""``caspl fit``: from a folder of pictures that somebody has to answers about others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caspl.__main__ import main
from caspl.commands.stages import Checkout, length
from tests.runs import REPO

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
PAIR = ("--student", "tiny-student", "--teacher", "tiny-teacher")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Noisy colours, ten pictures each."""
    generator = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for number in range(10):
            pixels = np.clip(np.array(colour) + generator.normal(0, 40, (40, 40, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPO)


def test_from_pictures_to_answers(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    command = ["fit", str(pictures), "-o", str(run), *PAIR, "--epochs", "1", "--shots", "4"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "accuracy on 9 held-out pictures:" in said
    for name, folder in (("zero-shot", run / "look"), ("boosted", run / "boost"), ("adapted", run)):
        record = json.loads((folder / "result.json").read_text())
        line = next(line for line in said.splitlines() if line.strip().startswith(name))
        assert line.split()[-1] == f"{record['metrics']['accuracy']:.1f}%"
    assert json.loads((run / "result.json").read_text())["trainer"] == "CasPL_PromptSRC"
    assert f"caspl predict {run} PICTURE" in said
    assert main(["predict", str(run), str(pictures / "red" / "0.png"), "--top", "3", "--format", "json"]) == 0
    (answer,) = capsys.readouterr().out.splitlines()
    assert {one["class"] for one in json.loads(answer)["answers"]} == set(COLOURS)
    started = (run / "result.json").stat().st_mtime_ns
    assert main(command) == 0  # all is done
    assert (run / "result.json").stat().st_mtime_ns == started
    assert main([*command, "--seed", "2"]) == 2
    assert "holds a run of other arguments" in capsys.readouterr().err


def test_names_and_unlabelled_pictures_end_after_phase_1(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("a red thing\na blue thing\n")
    run = tmp_path / "run"
    assert main(["fit", str(pictures), "-o", str(run), *PAIR, "--epochs", "1", "--classes", str(names)]) == 0
    assert f"caspl predict {run / 'boost'} PICTURE" in capsys.readouterr().out
    assert main(["predict", str(run / "boost"), str(pictures / "red"), "--format", "csv"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert {row.split(",")[2] for row in rows} == {"a red thing", "a blue thing"}
    assert not (run / "result.json").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_it_goes_on_after_an_interruption(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "caspl", "fit", str(pictures), "-o", str(run), *PAIR, "--epochs", "60"]
    # A shell's background jobs ignore the signal, and what they start does so too.
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, heard)
    until = time.monotonic() + 120
    while not (run / "boost" / "resume.pt").exists():
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "the same command goes on" in said
    assert not (run / "boost" / "result.json").exists()
    epochs = (run / "boost" / "log.txt").read_text().count("epoch [1/60]")
    assert epochs
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (run / "boost" / "log.txt").read_text().count("epoch [1/60]") == epochs  # the first was not done again
    assert "adapted" in done.stdout


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--method", "PromptSCR"], "did you mean PromptSRC?"),
        (["--shots", "0"], "--shots is 1 or more"),
        (["--student", "ViT-X"], "unknown CLIP 'ViT-X'"),
        (["--teacher", "ViT-X", "--student", "tiny-student"], "ViT-X"),
        (["--classes", "absent.txt"], "cannot be read"),
        (["--unlabelled", "absent"], "there is no folder of pictures absent"),
    ],
)
def test_wrong_input(
    more: list[str], sentence: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", str(pictures), "-o", str(tmp_path / "run"), *PAIR, *more]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert sentence in said
    assert not (tmp_path / "run").exists()


def test_elsewhere_than_in_a_checkout(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", str(pictures), "-o", "run"]) == 2
    assert "is no checkout of CasPL: call it in one" in capsys.readouterr().err


def test_length_and_settings() -> None:
    assert length(30, limited=False) == (4, 72)  # 7 steps an epoch
    assert length(4, limited=False) == (4, 200)
    assert length(8000, limited=False) == (4, 20)
    assert length(50_000, limited=False) == (128, 20)
    assert length(400, limited=True) == (4, 10)
    assert length(9000, limited=True) == (4, 1)
    checkout = Checkout(REPO)
    published = REPO / "configs/trainers"
    name = "vit_b16_c2_ep20_batch4_8+8ctx_l12.yaml"
    assert checkout.config("CasPL", tiny=False) == published / "CasPL" / name
    assert checkout.config("PromptSRC", tiny=False) == published / "CasPL_PromptSRC" / name
    for method in checkout.methods():
        assert checkout.config(method, tiny=True).is_file()
        assert checkout.config(method, tiny=False).is_file()
