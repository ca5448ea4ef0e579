"""Classifiers on kept features as others meet them: loaded, asked, exported."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import caspl
from caspl.__main__ import main
from caspl.build import load_model
from caspl.checkpoint import ABOUT
from caspl.demo.columns import side_by_side
from caspl.errors import CasPLError
from caspl.predictor.merged import HEADER
from caspl.step import Precision
from caspl.teachers.tuned import load_tuned
from tests.conftest import boosting_file
from tests.runs import Runs
from tests.trainers.kept import built, run

NAMES = ("LinearProbeCLIP", "TipAdapter", "CasPL_TipAdapterF")


@pytest.fixture
def trained(runs: Runs) -> Any:
    """Trains one; returns its folder and the paths and answers of its test."""

    def done(name: str) -> tuple[Path, list[str], list[str]]:
        file = boosting_file(runs.folder / "boosting.safetensors")
        more = ["TRAINER.CASPL.BOOSTING", str(file)] if name.startswith("CasPL") else []
        more += ["OPTIM.MAX_EPOCH", "1"] if name.endswith("F") else []
        run(runs, name, "run", *more, "TEST.SAVE_PREDICTIONS", "True")
        with (runs.folder / "run" / "predictions.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return runs.folder / "run", [row["image"] for row in rows], [row["answer"] for row in rows]

    return done


@pytest.mark.parametrize("name", NAMES)
def test_loaded_and_exported_it_answers_as_its_run(
    name: str, trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, pictures, answers = trained(name)
    model = caspl.load(run, device="cpu")
    logits = model.logits(pictures)
    assert [said.name for said in model.predict(pictures)] == [answer.replace("_", " ") for answer in answers]
    pytest.importorskip("onnxruntime")
    merged = caspl.load(model.export(tmp_path / "merged", onnx=True), device="cpu")
    torch.testing.assert_close(merged.logits(pictures), logits, rtol=0, atol=1e-5)
    assert merged.classes == model.classes
    with pytest.raises(CasPLError, match="merged predictor already"):
        merged.export(tmp_path / "again")
    for one in (model, merged):
        some = list(reversed(one.classes[2:5]))
        with pytest.raises(CasPLError, match="was made for 10 classes, and 'a tree' is none of them"):
            one.set_classes([*some, "a tree"])
        with pytest.raises(CasPLError, match="by a head behind its image tower"):
            one.encode_text(some)
        one.set_classes(one.classes[:1]).set_classes(some)  # from all that it knows, not from those of before
        found = one.logits(pictures)
        assert found.shape == (len(pictures), 3)
        if name == "LinearProbeCLIP":
            torch.testing.assert_close(found, logits[:, [4, 3, 2]], rtol=0, atol=1e-5)
    assert main(["info", str(run)]) == 0
    assert "a head behind the image tower" in capsys.readouterr().out
    with pytest.raises(CasPLError, match=r"a head behind the image tower \((linear|cache)\): caspl.load takes it"):
        load_model(run)


def test_a_cache_asks_the_images_of_the_classes_alone(trained: Any, runs: Runs) -> None:
    run, pictures, _ = trained("TipAdapter")
    trainer = built(runs, "TipAdapter", "x", "DATASET.SUBSAMPLE_CLASSES", "new")
    trainer.load_model(str(run))
    trainer.set_model_mode("eval")
    model = caspl.load(run, classes=list(trainer.dm.dataset.classnames), device="cpu")
    pixels = torch.stack([model.transform(picture) for picture in pictures])
    torch.testing.assert_close(model.logits(pictures), trainer.model_inference(pixels).detach(), rtol=0, atol=1e-5)


def test_a_class_that_is_asked_for_twice(trained: Any) -> None:
    run, pictures, _ = trained("TipAdapter")
    model = caspl.load(run, device="cpu")
    name = model.classes[3]
    found = model.set_classes([name, name, model.classes[0]]).logits(pictures)
    assert torch.equal(found[:, 0], found[:, 1])


def test_commands_take_it(trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, pictures, answers = trained("CasPL_TipAdapterF")
    for number, (path, answer) in enumerate(zip(pictures, answers, strict=True)):
        place = tmp_path / "labelled" / answer / f"{number}{Path(path).suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(Path(path).read_bytes())
    assert main(["evaluate", str(run), "--root", str(tmp_path / "labelled")]) == 0
    assert f"{len(pictures)} pictures, accuracy 100.00%" in capsys.readouterr().out
    assert main(["info", str(run), "--card"]) == 0
    assert "A classifier on features for CLIP" in capsys.readouterr().out
    assert main(["export", str(run), "-o", str(tmp_path / "merged")]) == 0
    assert main(["info", str(tmp_path / "merged")]) == 0
    assert "a head behind the image tower (cache)" in capsys.readouterr().out
    sides = side_by_side(run, device="cpu", teacher="")
    assert [column.title for column in sides.columns] == ["Student", "Boosted", "Cascade"]
    with Image.open(pictures[0]) as picture:
        found = sides.columns[-1].probabilities(picture.convert("RGB"), sides.classes)
    expected = caspl.load(run, device="cpu").logits(pictures[:1]).softmax(dim=-1)[0]
    assert found == pytest.approx(expected.tolist(), abs=1e-5)


def test_all_of_it_moves(trained: Any) -> None:
    run, _, _ = trained("LinearProbeCLIP")
    model = caspl.load(run, device="cpu").to("meta")
    assert model.clip is not None
    assert {value.device.type for value in (*model.clip.parameters(), *model.classifier.buffers())} == {"meta"}


def test_it_is_no_teacher(trained: Any) -> None:
    run, _, _ = trained("LinearProbeCLIP")
    with pytest.raises(CasPLError, match="has no text tower of its own: a teacher gives"):
        load_tuned(str(run), Precision("fp32", torch.device("cpu")))


def test_damage_is_said(trained: Any, tmp_path: Path) -> None:
    run, pictures, _ = trained("LinearProbeCLIP")
    folder = caspl.load(run, device="cpu").export(tmp_path / "merged")
    header = json.loads((folder / HEADER).read_text())
    for change, sentence in (
        ({"classifies": "magic"}, "a head of the kind 'magic'"),
        ({"classifies": "cache"}, "its head is none"),
        ({"classes": header["classes"][1:]}, r"9 classes and \d+ features of an image, but \(10, "),
    ):
        (folder / HEADER).write_text(json.dumps(header | change))
        with pytest.raises(CasPLError, match=sentence):
            caspl.load(folder)
    (path,) = run.glob("*/model.pth.tar-*")
    whole = torch.load(path, weights_only=True)
    for change, sentence in (
        ({"classnames": whole["state_dict"][ABOUT]["classnames"][1:]}, "names 9 classes, its head has 10"),
        ({"head": whole["state_dict"][ABOUT]["head"] | {"kind": "magic"}}, "a head of the kind 'magic'"),
        ({"head": {"kind": "linear"}}, "a damaged checkpoint: what it says of itself lacks 'prompts'"),
        ({"head": {"prompts": {}}}, "a damaged checkpoint: what it says of itself lacks 'kind'"),
    ):
        torch.save({"state_dict": {**whole["state_dict"], ABOUT: whole["state_dict"][ABOUT] | change}}, path)
        with pytest.raises(CasPLError, match=sentence):
            caspl.load(run)
    narrow = {"head.weight": whole["state_dict"]["head.weight"][:, 1:]}
    torch.save({"state_dict": whole["state_dict"] | narrow}, path)
    with pytest.raises(CasPLError, match="images have 32 features, and 31 are judged"):
        caspl.load(run)
