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
import yaml
from PIL import Image

import caspl
from caspl.__main__ import COMMANDS, main
from caspl.commands.evaluate import calibration_error
from caspl.commands.labelled import labelled
from caspl.data.split import read_split
from caspl.errors import CasPLError
from caspl.predictor.calibration import fit_temperature
from caspl.results.record import RunRecord, write_record
from caspl.store import Header, Store
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


def test_neither_a_data_set_nor_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "nofolder"]) == 2
    assert "nor is there a folder of that name" in capsys.readouterr().err


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
    assert main(["export", str(run), "-o", str(tmp_path / "merged")]) == 0
    assert "holds a predictor, which is written over" in capsys.readouterr().err
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


def write_split_beside(pictures: Path, classes: dict[str, str], **lists: list[str]) -> Path:
    """A split file as runs on a folder of one's own make it; entries are paths, whose folders say the class."""
    names = list(classes)
    entries = {
        name: [[path, names.index(path.split("/")[0]), classes[path.split("/")[0]]] for path in paths]
        for name, paths in lists.items()
    }
    path = pictures / "split_caspl_test.json"
    path.write_text(json.dumps(entries))
    return path


def test_the_pictures_of_a_split_that_a_run_has_made(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = {"Forest": "Forest", "SeaLake": "SeaLake"}
    lists = {part: [f"{name}/{number}.png" for name in classes] for number, part in enumerate(("train", "val", "test"))}
    path = write_split_beside(pictures, classes, **lists)
    (pictures / "split_fewshot").mkdir()
    out = tmp_path / "figures"
    assert main(["evaluate", str(run), "--root", str(pictures), "-o", str(out), "--predictions"]) == 0
    said = capsys.readouterr()
    assert f"the 2 pictures for test of {path}" in said.err
    assert "careful" in said.err or not caspl.load(run, device="cpu").about["trained_on"]["split"]
    rows = list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))
    assert [row["image"] for row in rows] == [str(pictures / name) for name in lists["test"]]
    assert labelled(path, CLASSES, "val")[0] == [pictures / name for name in lists["val"]]
    path.rename(pictures / "split_one.json")
    (pictures / "split_two.json").write_text((pictures / "split_one.json").read_text().replace("2.png", "3.png"))
    assert main(["evaluate", str(run), "--root", str(pictures)]) == 2
    assert "several splits (split_one.json, split_two.json)" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--root", str(pictures / "split_two.json")]) == 2
    assert "2 of 2 images of the split are missing" in capsys.readouterr().err


def test_the_split_of_the_run_goes_first(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = {"Forest": "Forest", "SeaLake": "SeaLake"}
    path = write_split_beside(pictures, classes, train=["Forest/0.png", "SeaLake/0.png"], test=["SeaLake/1.png"])
    (pictures / "split_a.json").write_text(path.read_text().replace("1.png", "2.png"))
    split = read_split(path)
    found = labelled(pictures, CLASSES, "test", split.digest(split.test))
    assert found == ([pictures / "SeaLake/1.png"], [CLASSES.index("SeaLake")])
    assert "careful" not in capsys.readouterr().err
    labelled(path, CLASSES, "test", "another")
    assert "careful: the model was trained on another split" in capsys.readouterr().err
    with pytest.raises(CasPLError, match="lists no pictures for val"):
        labelled(path, CLASSES, "val")


def test_a_folder_without_the_part_that_is_meant(run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = pictures.parent / "whole"
    whole.mkdir()
    pictures.rename(whole / "test")
    assert main(["calibrate", str(run), "--root", str(whole)]) == 2
    assert "has test, but no val: name the folder that you mean" in capsys.readouterr().err
    (whole / "test").rename(whole / "Testing")  # as fit reads it
    assert labelled(whole, CLASSES)[0] == sorted((whole / "Testing").rglob("*.png"))


def test_pictures_that_cannot_be_read_take_no_others_along(
    run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(pictures.rglob("*.png"))
    files[1].write_bytes(files[1].read_bytes()[:60])
    (pictures / "note.jpg").write_text("no picture")
    assert main(["predict", str(run), str(pictures), "--format", "json", "--batch-size", "2"]) == 1
    said = capsys.readouterr()
    answered = [json.loads(line)["image"] for line in said.out.splitlines()]
    assert answered == [str(path) for path in files if path != files[1]]
    assert "2 of 7 pictures could not be read" in said.err
    assert "note.jpg cannot be read: it is of no kind that is known" in said.err
    assert main(["predict", str(run), str(pictures / "note.jpg")]) == 1


def test_calibration_error_by_hand() -> None:
    """Two bins: sure of 0.75 and right half the time; sure of 1 and right."""
    three = float(torch.tensor(3.0).log())
    logits = torch.tensor([[three, 0.0], [three, 0.0], [100.0, 0.0], [100.0, 0.0]])
    assert calibration_error(logits, torch.tensor([0, 1, 0, 0])) == pytest.approx(2 * 0.25 / 4)


def test_info(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], clips: dict[str, str]) -> None:
    assert main(["info", str(run), "--json"]) == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert said["written by"] == f"caspl {caspl.__version__}"
    assert said["classes"] == list(CLASSES)
    assert {"text.adapting.values", "vision.boosting.values"} <= said["tensors"].keys()
    path = boosting_file(tmp_path / "boosting.safetensors")
    assert main(["info", str(path)]) == 0
    assert "boosting file" in capsys.readouterr().out
    assert main(["export", str(run), "-o", str(tmp_path / "merged")]) == 0
    assert main(["info", str(tmp_path / "merged")]) == 0
    assert "exported predictor" in capsys.readouterr().out
    assert main(["info", str(tmp_path / "absent")]) == 2


def test_a_card_says_what_the_header_says(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], clips: dict[str, str]
) -> None:
    record = RunRecord(trainer="X", dataset="EuroSAT", shots=2, seed=1, classes="new", metrics={"accuracy": 51.234})
    write_record(run, record)
    assert main(["info", str(run), "--card"]) == 0
    said = capsys.readouterr().out
    front = yaml.safe_load(said.split("---")[1])
    assert front["library_name"] == "caspl"
    assert "| EuroSAT | new | 0 | 1 | 51.23 |" in said
    assert ", ".join(CLASSES) in said
    assert "keep their own licence" in said
    path = boosting_file(tmp_path / "boosting.safetensors")
    assert main(["info", str(path), "--card"]) == 0
    said = capsys.readouterr().out
    assert 'caspl.attach(clip, "boosting.safetensors")' in said
    assert "None are recorded" in said
    assert main(["export", str(run), "-o", str(tmp_path / "merged")]) == 0
    capsys.readouterr()
    assert main(["info", str(tmp_path / "merged"), "--card"]) == 0
    assert "exported predictor" in capsys.readouterr().out


def test_info_of_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path / "store", Header("ViT-L/14", "0", "EuroSAT", "", {}, {}))
    store.complete([("a", 0), ("b", 0)], lambda rows: iter([torch.eye(len(rows), 4)]))
    assert main(["info", str(tmp_path / "store"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["kind"], said["views"], said["encoder"]) == ("store of features", 2, "ViT-L/14")
    assert main(["info", str(tmp_path / "store"), "--card"]) == 2


@pytest.mark.parametrize("temperature", [0.4, 3.0])
def test_a_temperature_is_found_again(temperature: float) -> None:
    """Labels that are drawn from the softmax of logits over a temperature."""
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(40_000, 5, generator=generator)
    labels = (logits / temperature).softmax(dim=-1).multinomial(1, generator=generator)[:, 0]
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.03)

    def loss(one: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits.double() / one, labels))

    assert loss(found) <= min(loss(found * 1.001), loss(found / 1.001))
    assert calibration_error(logits / found, labels) < calibration_error(logits, labels)


def test_pictures_that_tell_no_temperature() -> None:
    with pytest.raises(CasPLError, match=r"2 pictures tell no temperature, with 100\.0% of them"):
        fit_temperature(torch.eye(2), torch.tensor([0, 1]))
    with pytest.raises(CasPLError, match="tell no temperature"):
        fit_temperature(torch.eye(2), torch.tensor([1, 0]))


def test_calibrated_once_it_holds_for_these_tokens_alone(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    # Labels by the model's own answers, but for two pictures.
    found = caspl.load(run, device="cpu").predict(sorted(pictures.rglob("*.png")), top=2)
    for number, one in enumerate(found):
        folder = pictures / "val" / one.answers[number < 2].name
        folder.mkdir(parents=True, exist_ok=True)
        Path(str(one.picture)).rename(folder / f"{number}.png")
    assert main(["calibrate", str(run), "--root", str(pictures)]) == 0
    assert "calibration error" in capsys.readouterr().out
    model = caspl.load(run, device="cpu")
    assert model.temperature != 1
    files = sorted(pictures.rglob("*.png"))
    probability = (model.logits(files) / model.temperature).softmax(dim=-1).max(dim=-1).values
    assert [one.probability for one in model.predict(files)] == pytest.approx(probability.tolist())
    assert main(["export", str(run), "-o", str(tmp_path / "merged")]) == 0
    merged = caspl.load(tmp_path / "merged", device="cpu")
    assert merged.temperature == pytest.approx(model.temperature)
    assert main(["calibrate", str(tmp_path / "merged"), "--root", str(pictures)]) == 0
    assert caspl.load(tmp_path / "merged", device="cpu").temperature == pytest.approx(model.temperature, rel=1e-3)
    # By one of its files it is the same predictor; written anew it has the run's temperature.
    assert main(["calibrate", str(tmp_path / "merged" / "predictor.json"), "--root", str(pictures)]) == 0
    assert [path.name for path in (tmp_path / "merged").glob("*calibration.json")] == ["calibration.json"]
    said = json.loads((tmp_path / "merged" / "calibration.json").read_text())
    (tmp_path / "merged" / "calibration.json").write_text(json.dumps(said | {"temperature": 7.0}))
    assert caspl.load(tmp_path / "merged", device="cpu").temperature == 7
    assert main(["export", str(run), "-o", str(tmp_path / "merged")]) == 0
    assert caspl.load(tmp_path / "merged", device="cpu").temperature == pytest.approx(model.temperature)
    header = json.loads((tmp_path / "merged" / "predictor.json").read_text())
    for wrong in ("x", None, [1], 0, -1, True):
        (tmp_path / "merged" / "predictor.json").write_text(json.dumps(header | {"about": {"temperature": wrong}}))
        with pytest.raises(CasPLError, match="holds no temperature"):
            caspl.load(tmp_path / "merged", device="cpu")
    caplog.clear()
    assert caspl.load(run, classes=["a cat", "a dog"], device="cpu").temperature == model.temperature
    assert "among other classes" in caplog.text
    place = run / "calibration.json"
    said = json.loads(place.read_text())
    place.write_text(json.dumps(said | {"tokens": "others"}))
    assert caspl.load(run, device="cpu").temperature == 1
    assert "set for other tokens" in caplog.text
    place.write_text(json.dumps(said | {"temperature": 0}))
    with pytest.raises(CasPLError, match="holds no temperature"):
        caspl.load(run, device="cpu")


def test_a_picture_that_cannot_be_drawn_is_refused_at_once(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run), "--root", str(pictures), "--picture", str(tmp_path / "a.doc")]) == 2
    assert "accuracy" not in capsys.readouterr().out
    assert main(["evaluate", str(run), "--root", str(pictures), "--picture", str(tmp_path / "a.svg")]) == 0
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")


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
