"""PromptKD: its loss, its teachers, what is refused, and the images of a run from disk."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import caspl
import train
from caspl.__main__ import main
from caspl.batch_norm import BatchNorm
from caspl.build import load_model
from caspl.checkpoint import ABOUT
from caspl.errors import CasPLError
from caspl.losses import distillation
from caspl.prompts.projector import Projector
from caspl.step.precision import Precision
from caspl.teachers import tuned
from caspl.teachers.tuned import load_tuned
from tests.cases import CASES
from tests.conftest import CLASSES, boosting_file
from tests.runs import Runs
from tests.trainers.building import batch, build, logits

ROW = next(case for case in CASES if case.trainer == "PromptKD")
OTHERS = ["an old name", "Forest"]


def teacher_run(clips: dict[str, str], folder: Path, case: str = "PromptSRC", **more: Any) -> str:
    """A method trained for a step on the teacher; the folder of its run."""
    row = next(one for one in CASES if one.trainer == case)
    more = {"OUTPUT_DIR": str(folder / "teacher")} | more
    trainer = build(row, False, clips | {"student": clips["teacher"]}, folder, **more)
    trainer.save_model(0, trainer.output_dir)
    return str(folder / "teacher")


def test_the_loss_by_hand() -> None:
    """Worked out for two images and three classes: the sum over both of KL, by six numbers, times 1000."""
    teacher, student = torch.tensor([[2.0, 1, 0], [0, 3, 0]]), torch.tensor([[1.0, 1, 0], [0, 1, 2]])
    assert 1000 * float(distillation(student, teacher, 1.0, "mean")) == pytest.approx(193.44, abs=0.01)
    assert 1000 * float(distillation(student, teacher, 2.0, "mean")) == pytest.approx(252.96, abs=0.02)


def test_normalisation_is_torchs() -> None:
    torch.manual_seed(0)
    ours, theirs = BatchNorm(5), nn.BatchNorm1d(5)
    for images in (torch.randn(4, 5), 3 + torch.randn(2, 5)):
        torch.testing.assert_close(ours(images), theirs(images))
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    assert torch.equal(ours.eval()(images), theirs.eval()(images))


def test_a_fixed_projector_stays() -> None:
    projector = Projector("projector", 3, 4)
    fixed, images = projector.fixed().eval(), torch.randn(2, 3)
    before = fixed.finish(images)
    projector.finish(images)
    nn.init.zeros_(projector.last.weight)
    assert torch.equal(fixed.finish(images), before)


def test_norms_of_a_teacher_are_not_folded_away(
    clips: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that LASP learns are instead of CLIP's: folded ones would count twice."""
    folded: list[bool] = []
    place = Precision.place

    def placed(self: Precision, clip: Any, fold: bool = True) -> Any:
        folded.append(fold)
        return place(self, clip, fold)

    monkeypatch.setattr(Precision, "place", placed)
    for case, expected in (("LASP", False), ("PromptSRC", True)):
        run = teacher_run(clips, tmp_path / case, case)
        folded.clear()
        load_tuned(run, Precision("fp32", torch.device("cpu")))
        assert folded == [expected]


def test_samples_are_no_feature(clips: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(CasPLError, match="in samples"):
        load_tuned(teacher_run(clips, tmp_path, "BayesPrompt"), Precision("fp32", torch.device("cpu")))


@pytest.mark.parametrize("boosted", [False, True])
def test_a_prompted_teacher(boosted: bool, clips: dict[str, str], tmp_path: Path) -> None:
    """Class features and logits are those of the model that its run has left, of any names; labels do not matter."""
    run = teacher_run(clips, tmp_path)
    trainer = build(replace(ROW, options=ROW.options | {"TEACHER": run}), boosted, clips, tmp_path)
    model = load_model(run)
    with torch.no_grad():
        torch.testing.assert_close(trainer.class_features(OTHERS), model.for_classes(OTHERS).encode_text())
        torch.testing.assert_close(trainer.model.encode_text(), model.for_classes(CLASSES).encode_text())
    assert trainer.trained_on()["teacher"]["dataset"] == "EuroSAT"
    losses = []
    for shift in (0, 1):
        given = batch()
        given["label"] = (given["label"] + shift) % len(CLASSES)
        losses.append(float(trainer.step.compute(trainer.batch_of(given))[0].detach()))
    assert losses[0] == losses[1]


def test_class_names_are_encoded_some_at_a_time(
    clips: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_tuned(teacher_run(clips, tmp_path), Precision("fp32", torch.device("cpu")))
    whole = encoder.encode_text(CLASSES)
    monkeypatch.setattr(tuned, "CHUNK", 3)
    torch.testing.assert_close(encoder.encode_text(CLASSES), whole)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "PromptKD has no teacher: TRAINER.PROMPTKD.TEACHER is the folder of a run on the teacher"),
        ("missing/run", r"unknown CLIP 'missing/run'.*the folder of a run on the teacher \(stage 1"),
        ("missing/model.pth.tar-20", r"there is no run and no checkpoint at missing/model.pth.tar-20.*stage 1"),
        ("EMPTY", "holds no checkpoint: name the folder of one run.*stage 1"),
        ("CoCoOp", r"are made for each image.*as PromptSRC does.*stage 1"),
    ],
)
def test_what_is_no_teacher_is_refused_when_it_is_built(
    name: str, sentence: str, clips: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "EMPTY").mkdir()
    given = {"EMPTY": str(tmp_path / "EMPTY"), "CoCoOp": ""}.get(name, name)
    given = teacher_run(clips, tmp_path, "CoCoOp") if name == "CoCoOp" else given
    with pytest.raises(CasPLError, match=sentence):
        build(replace(ROW, options=ROW.options | {"TEACHER": given}), False, clips, tmp_path)


def test_a_run_is_evaluated_with_its_own_teacher(clips: dict[str, str], tmp_path: Path) -> None:
    """By what the teacher is, wherever it lies."""

    def of(teacher: str) -> Any:
        return build(replace(ROW, options=ROW.options | {"TEACHER": teacher}), False, clips, tmp_path)

    run = teacher_run(clips, tmp_path)
    trainer = of(run)
    trainer.train_loader_x = []
    trainer.before_train()
    trainer.forward_backward(batch())
    trainer.save_model(0, trainer.output_dir)
    moved = str(Path(run).rename(tmp_path / "moved"))
    again = of(moved)
    again.load_model(trainer.output_dir)
    assert torch.equal(logits(again), logits(trainer))
    other = of("teacher")
    with pytest.raises(CasPLError, match=r"TRAINER\.PROMPTKD\.TEACHER held something else"):
        other.load_model(trainer.output_dir)


@pytest.mark.parametrize("boosted", [False, True])
def test_its_run_answers_for_the_classes_that_its_teacher_was_asked_for(
    boosted: bool, clips: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = build(ROW, boosted, clips, tmp_path)
    trainer.forward_backward(batch())
    trainer.save_model(0, str(tmp_path / "run"))
    model, pixels, expected = caspl.load(tmp_path / "run", device="cpu"), batch(9)["img"], logits(trainer)
    torch.testing.assert_close(model.set_classes(CLASSES[1:3]).logits(pixels), expected[:, 1:3], rtol=0, atol=1e-5)
    with pytest.raises(CasPLError, match="features of 'an old name' are not to be had: a teacher, which is not here"):
        model.set_classes(OTHERS)
    assert model.classes == list(CLASSES[1:3])
    with pytest.raises(CasPLError, match="features of 'a tree' are not to be had"):
        model.encode_text([CLASSES[0], "a tree"])
    assert main(["info", str(tmp_path / "run")]) == 0
    assert f"a teacher's, of {len(CLASSES)} classes" in capsys.readouterr().out


def test_a_process_that_knows_no_trainer_loads_it(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(ROW, True, clips, tmp_path)
    trainer.forward_backward(batch())
    trainer.save_model(0, str(tmp_path / "run"))
    caspl.load(tmp_path / "run", device="cpu").export(tmp_path / "merged")
    lines = "import sys, caspl; [print(caspl.load(path, device='cpu').classes) for path in sys.argv[1:]]"
    call = [sys.executable, "-c", lines, str(tmp_path / "run"), str(tmp_path / "merged")]
    assert subprocess.run(call, capture_output=True, text=True, check=True).stdout == 2 * f"{list(CLASSES)}\n"


def test_a_student_is_no_teacher(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(ROW, False, clips, tmp_path)
    trainer.save_model(0, str(tmp_path / "run"))
    with pytest.raises(CasPLError, match="has no text tower of its own: a teacher gives"):
        load_tuned(str(tmp_path / "run"), Precision("fp32", torch.device("cpu")))


def test_earlier_files_are_tested(clips: dict[str, str], tmp_path: Path) -> None:
    """They called the projector otherwise, and could not be built."""
    trainer = build(ROW, False, clips, tmp_path, OUTPUT_DIR=str(tmp_path / "run"))
    trainer.train_loader_x = []
    trainer.before_train()
    trainer.forward_backward(batch())
    trainer.save_model(0, str(tmp_path / "run"))
    expected = logits(trainer)
    (path,) = (tmp_path / "run").glob("*/model.pth.tar-1")
    whole = torch.load(path, weights_only=True)
    state = {name.replace("vision.projector", "projector"): value for name, value in whole["state_dict"].items()}
    state[ABOUT] = {k: v for k, v in state[ABOUT].items() if k != "given"} | {"description": {}}
    torch.save(whole | {"state_dict": state}, path)
    with torch.no_grad():
        for value in trainer.segments.tensors().values():
            value.zero_()
    trainer.load_model(str(tmp_path / "run"))
    assert torch.equal(logits(trainer), expected)
    with pytest.raises(CasPLError, match="does not say how its model is built"):
        caspl.load(tmp_path / "run", device="cpu")


@pytest.mark.parametrize("damage", ["none at all", "of another width"])
def test_class_features_belong_to_the_projector(damage: str, clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(ROW, False, clips, tmp_path)
    trainer.save_model(0, str(tmp_path / "run"))
    (path,) = (tmp_path / "run").glob("*/model.pth.tar-1")
    whole = torch.load(path, weights_only=True)
    names, features = whole["state_dict"][ABOUT].pop("given")
    if damage == "of another width":
        whole["state_dict"][ABOUT]["given"] = (names, features[:, 1:])
    torch.save(whole, path)
    with pytest.raises(
        CasPLError, match=r"is damaged: (it lacks the features of classes|images have \d+ features, and)"
    ):
        caspl.load(tmp_path / "run", device="cpu")


@pytest.mark.parametrize("damage", ["one name less", "a number that is none", "no tensor"])
def test_damaged_class_features_are_refused(damage: str, clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(ROW, False, clips, tmp_path)
    trainer.save_model(0, str(tmp_path / "run"))
    (path,) = (tmp_path / "run").glob("*/model.pth.tar-1")
    whole = torch.load(path, weights_only=True)
    names, features = whole["state_dict"][ABOUT]["given"]
    whole["state_dict"][ABOUT]["given"] = {
        "one name less": (names[1:], features),
        "a number that is none": (names, features * float("nan")),
        "no tensor": (names, features.tolist()),
    }[damage]
    torch.save(whole, path)
    with pytest.raises(CasPLError, match="is a damaged checkpoint: what it says of itself lacks"):
        caspl.load(tmp_path / "run", device="cpu")


def test_batches_of_one_and_boosting_tokens_for_texts(clips: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(CasPLError, match="BATCH_SIZE is 2 or more"):
        build(ROW, False, clips, tmp_path, DATALOADER__TRAIN_X__BATCH_SIZE=1)
    with pytest.raises(CasPLError, match="two images a batch or more"):
        build(ROW, False, clips, tmp_path).forward_backward(batch(count=1))
    file = boosting_file(tmp_path / "text.safetensors", vision=False)
    with pytest.raises(CasPLError, match="these boosting tokens are for texts"):
        build(ROW, True, clips, tmp_path, TRAINER__CASPL__BOOSTING=str(file))


@pytest.mark.parametrize("boosted", [False, True])
def test_from_disk_the_images_of_all_classes_are_looked_at(
    boosted: bool, runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    """A run on the base classes with four shots: its teacher had these; tests on new classes need no training."""
    caplog.set_level(logging.INFO)
    name = "CasPL_PromptKD" if boosted else "PromptKD"
    given = ["TRAINER.PROMPTKD.PREC", "fp32", "TRAINER.PROMPTKD.TEACHER", runs.clips["teacher"]]
    given += [
        "OPTIM.MAX_EPOCH",
        "1",
        "DATASET.NUM_SHOTS",
        "4",
        "DATALOADER.TRAIN_X.BATCH_SIZE",
        "4",
        "TRAIN.PRINT_FREQ",
        "1",
    ]
    if boosted:
        given += ["TRAINER.CASPL.BOOSTING", str(boosting_file(runs.folder / "boosting.safetensors"))]
    file = "PromptKD/vit_b16_c2_ep20_batch8_4+4ctx"
    base = ["DATASET.SUBSAMPLE_CLASSES", "base"]
    assert train.main(runs.arguments(name, file, "run", *given, *base)) == 0
    log = (runs.folder / "run" / "log.txt").read_text()
    assert "images of 10 classes, without labels" in log
    load = ["--eval-only", "--model-dir", str(runs.folder / "run"), "DATASET.SUBSAMPLE_CLASSES", "new"]
    assert train.main(runs.arguments(name, file, "new", *given, *load)) == 0
    few = ["TRAINER.PROMPTKD.SHOTS", "2"]
    assert train.main(runs.arguments(name, file, "few", *given, *base, *few)) == 0
    for run, images in (("run", 5), ("few", 2)):  # of ten images a class five are for training
        assert f"batch [1/{10 * images // 4}]" in (runs.folder / run / "log.txt").read_text()
