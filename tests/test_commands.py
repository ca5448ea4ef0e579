"""The program ``caspl``: its commands on a run's folder, and what they refuse."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import caspl
from caspl.__main__ import COMMANDS, main
from caspl.commands.evaluate import calibration_error
from caspl.towers.tokenizer import encode
from tests.cases import CASES
from tests.conftest import CLASSES, boosting_file
from tests.test_front_door import saved
from tests.tiny_clip import tiny_clip


@pytest.fixture
def run(clips: dict[str, str], tmp_path: Path) -> Path:
    """A run's folder."""
    saved(CASES[5], True, clips, tmp_path)
    return tmp_path / "run"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three pictures of each of two classes."""
    generator = np.random.default_rng(0)
    for name in ("Forest", "SeaLake"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            pixels = generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    return tmp_path / "data"


def test_help_and_wrong_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert main(["--version"]) == 0
    assert caspl.__version__ in capsys.readouterr().out
    assert main([]) == 2
    assert main(["predikt"]) == 2
    assert "did you mean predict?" in capsys.readouterr().err
    for name in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0


def test_predict(run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted(pictures.rglob("*.png"))
    expected = caspl.load(run, device="cpu").predict(files, top=2)
    one = str(files[0])
    assert main(["predict", str(run), str(pictures), "--top", "2", "--format", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["image"] for line in lines] == [str(path) for path in files]
    assert [[a["class"] for a in line["answers"]] for line in lines] == [[a.name for a in p.answers] for p in expected]
    assert main(["predict", str(run), one, "--format", "csv", "--top", "1"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["class"], row["rank"], row["known"]) == (expected[0].name, "1", "1")
    assert main(["predict", str(run), one, "--threshold", "1"]) == 0
    assert "none of these" in capsys.readouterr().out
    assert main(["predict", str(run), one, "--classes", "a cat", "a dog"]) == 0
    assert "a cat" in capsys.readouterr().out
    for wrong, sentence in ((["nothing.png"], "no picture nothing.png"), ([one, "--threshold", "2"], "0 to 1")):
        assert main(["predict", str(run), *wrong]) == 2
        assert sentence in capsys.readouterr().err


def test_export_then_predict(run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "-o", str(tmp_path / "merged")]) == 0
    assert "caspl predict" in capsys.readouterr().out
    answers = []
    for model in (run, tmp_path / "merged"):
        assert main(["predict", str(model), str(pictures)]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]


def test_evaluate(run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "figures"
    assert main(["evaluate", str(run), "--root", str(pictures), "-o", str(out), "--predictions"]) == 0
    said = capsys.readouterr().out
    files = sorted(pictures.rglob("*.png"))
    names = [prediction.name for prediction in caspl.load(run, device="cpu").predict(files)]
    right = sum(name == path.parent.name for name, path in zip(names, files, strict=True))
    assert f"6 pictures, accuracy {100 * right / 6:.2f}%" in said
    rows = list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))
    assert [row["answer"] for row in rows] == names
    matrix = list(csv.reader((out / "confusion.csv").read_text().splitlines()))
    assert sum(int(cell) for row in matrix[1:] for cell in row[1:]) == 6
    assert len(matrix) == len(CLASSES) + 1
    (pictures / "Palace").mkdir()
    assert main(["evaluate", str(run), "--root", str(pictures)]) == 2
    assert "'Palace' is of none of the model's" in capsys.readouterr().err


def test_calibration_error_by_hand() -> None:
    """Two bins: sure of 0.75 and right half the time; sure of 1 and right."""
    three = float(torch.tensor(3.0).log())
    logits = torch.tensor([[three, 0.0], [three, 0.0], [100.0, 0.0], [100.0, 0.0]])
    assert calibration_error(logits, torch.tensor([0, 1, 0, 0])) == pytest.approx(2 * 0.25 / 4)


def test_info(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], clips: dict[str, str]) -> None:
    assert main(["info", str(run), "--json"]) == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert said["classes"] == list(CLASSES)
    assert {"text.adapting.values", "vision.boosting.values"} <= said["tensors"].keys()
    path = boosting_file(tmp_path / "boosting.safetensors")
    assert main(["info", str(path)]) == 0
    assert "boosting file" in capsys.readouterr().out
    assert main(["export", str(run), "-o", str(tmp_path / "merged")]) == 0
    assert main(["info", str(tmp_path / "merged")]) == 0
    assert "exported predictor" in capsys.readouterr().out
    assert main(["info", str(tmp_path / "absent")]) == 2


def test_nearest_words_are_the_words(clips: dict[str, str], tmp_path: Path) -> None:
    """Tokens that still are words are their own nearest words."""
    from caspl.build import read_built
    from caspl.commands.info import nearest_words
    from tests.trainers.building import build

    trainer = build(CASES[2], False, clips, tmp_path, TRAINER__COOP__CTX_INIT="a photo of a")
    trainer.save_model(0, str(tmp_path / "run"))
    (tokens,) = nearest_words(read_built(tmp_path / "run"), tiny_clip(), 2).values()
    assert [words[0].split(" (")[0] for words in tokens] == ["a", "photo", "of", "a"]
    assert len(encode("a photo of a")) == len(tokens)
