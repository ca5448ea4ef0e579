"""Classifiers on kept features as others meet them: loaded, asked, exported."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import caspl
from caspl.__main__ import main
from caspl.build import load_model
from caspl.checkpoint import ABOUT
from caspl.errors import CasPLError
from caspl.predictor.merged import HEADER
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
        found = one.set_classes(some).logits(pictures)
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
    ):
        torch.save({"state_dict": {**whole["state_dict"], ABOUT: whole["state_dict"][ABOUT] | change}}, path)
        with pytest.raises(CasPLError, match=sentence):
            caspl.load(run)
