"""What trainers refuse, and what the settings of the cascade mean."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from caspl.boosting import read_boosting
from caspl.boosting.find import boosting_path
from caspl.dassl.run_folder import keep_settings
from caspl.errors import CasPLError
from caspl.prompts import Segment, text_context
from caspl.prompts.templates import SELECTED
from caspl.step.precision import Precision
from tests.cases import CASES
from tests.conftest import CLASSES, boosting_file
from tests.stubs import make_cfg, make_trainer
from tests.tiny_clip import SIZES, tiny_clip
from tests.trainers.building import batch, build

CASE = {case.trainer: case for case in CASES}


def test_another_methods_checkpoint_is_refused(clips: dict[str, str], tmp_path: Path) -> None:
    coop, ivlp, promptsrc = CASE["CoOp"], CASE["IVLP"], CASE["PromptSRC"]
    trainer = build(promptsrc, False, clips, tmp_path)
    trainer.save_model(0, str(tmp_path / "run"))
    with pytest.raises(CasPLError, match="there is no checkpoint in"):
        build(coop, False, clips, tmp_path).load_model(str(tmp_path / "run"))
    with pytest.raises(CasPLError, match=r"no checkpoint of CasPL_IVLP.*text\.boosting"):
        build(ivlp, True, clips, tmp_path).load_model(str(tmp_path / "run"))
    longer = build(ivlp, False, clips, tmp_path, TRAINER__IVLP__N_CTX_TEXT=5)
    with pytest.raises(CasPLError, match=r"text\.adapting\.values of shape \(2, 4, 128\)"):
        longer.load_model(str(tmp_path / "run"), epoch=1)


def test_boosting_depth_and_length_come_from_the_file(clips: dict[str, str], tmp_path: Path) -> None:
    """Whatever the config of the adapting phase says: depths of the two phases are independent."""
    more = {"TRAINER__CASPL__N_CTX_TEXT": 9, "TRAINER__IVLP__PROMPT_DEPTH_TEXT": 1}
    segments = build(CASE["IVLP"], True, clips, tmp_path, **more).model.segments()
    assert segments["text.boosting"].values.shape == (3, 3, SIZES.text_width)
    assert segments["vision.boosting"].values.shape == (3, 2, SIZES.vision_width)
    assert segments["text.adapting"].depth == 1


def test_boosting_tokens_of_another_data_set_stand_in_place_of_the_runs_own(
    clips: dict[str, str], tmp_path: Path
) -> None:
    """Where that data set is named; else a run is tested with what it was trained with."""
    case = CASE["IVLP"]
    trained = build(case, True, clips, tmp_path)
    trained.save_model(0, str(tmp_path / "run"))
    root, sizes = tmp_path / "boosting", ((3, 3), (2, 3))
    other = boosting_file(boosting_path(root, "Other", clips["student"], 1, *sizes), dataset="Other", seed=7)
    found = {"TRAINER__CASPL__BOOSTING": "", "TRAINER__CASPL__BOOSTING_DIR": str(root)}
    named = build(case, True, clips, tmp_path, **found, TRAINER__CASPL__BOOSTING_DATASET="Other")
    named.load_model(str(tmp_path / "run"))
    tokens = read_boosting(other)
    mine, theirs = named.model.segments(), trained.model.segments()
    assert torch.equal(mine["text.boosting"].values.cpu(), tokens.text)
    assert torch.equal(mine["vision.boosting"].values.cpu(), tokens.vision)
    for name in ("text.adapting", "vision.adapting"):
        assert torch.equal(mine[name].values, theirs[name].values)
    assert named.recorder.trained_on["boosting"]["dataset"] == "Other"
    assert named.recorder.trained_on["dataset"] == "EuroSAT"
    plain = build(case, True, clips, tmp_path)
    plain.load_model(str(tmp_path / "run"))
    assert torch.equal(plain.model.segments()["text.boosting"].values, theirs["text.boosting"].values)


def test_boosting_can_train_on(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASE["IVLP"], True, clips, tmp_path, TRAINER__CASPL__TRAINABLE=True)
    before = trainer.model.segments()["vision.boosting"].values.clone()
    trainer.forward_backward(batch())
    assert not torch.equal(trainer.model.segments()["vision.boosting"].values, before)


def test_the_reference_of_promptsrc_can_be_boosted(clips: dict[str, str], tmp_path: Path) -> None:
    plain = build(CASE["PromptSRC"], True, clips, tmp_path)
    boosted = build(CASE["PromptSRC"], True, clips, tmp_path, TRAINER__CASPL__REFERENCE="boosted")
    alone = build(CASE["ZeroshotCLIP"], True, clips, tmp_path)  # boosting alone
    images = batch()["img"]
    with torch.no_grad():
        torch.testing.assert_close(boosted.reference.encode_image(images), alone.model.encode_image(images))
        torch.testing.assert_close(boosted.reference.text, alone.model.encode_text())
    assert (plain.reference.text - boosted.reference.text).abs().max() > 1e-3


def test_a_boosting_file_of_another_student(clips: dict[str, str], tmp_path: Path) -> None:
    file = boosting_file(tmp_path / "other.safetensors", student="other")
    with pytest.raises(CasPLError, match=r"were made for the student other .*boost this one with --trainer CasPL"):
        build(CASE["CoOp"], True, clips, tmp_path, TRAINER__CASPL__BOOSTING=str(file))


def test_no_boosting_file(clips: dict[str, str], tmp_path: Path) -> None:
    more = {"TRAINER__CASPL__BOOSTING": "", "TRAINER__CASPL__BOOSTING_DIR": str(tmp_path)}
    with pytest.raises(CasPLError, match=r"no boosting file for EuroSAT.*--trainer CasPL"):
        build(CASE["CoOp"], True, clips, tmp_path, **more)


def test_wrong_precision_and_wrong_image_size(clips: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(CasPLError, match=r"unknown precision 'fp8'.*TRAINER\.COOP\.PREC"):
        build(CASE["CoOp"], False, clips, tmp_path, "fp8")
    with pytest.raises(CasPLError, match=r"takes images of 32 pixels, but INPUT\.SIZE is \(224, 224\)"):
        build(CASE["CoOp"], False, clips, tmp_path, INPUT__SIZE=(224, 224))


def test_another_students_tokens_are_refused(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASE["CoOp"], False, clips, tmp_path)
    trainer.save_model(0, str(tmp_path / "run"))
    other = build(CASE["CoOp"], False, clips | {"student": clips["other"]}, tmp_path)
    with pytest.raises(CasPLError, match="were made for the student"):
        other.load_model(str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("row", "settings", "sentence"),
    [
        ("CoOp", {"TRAINER__COOP__N_CTX": 0}, "at least one token"),
        ("CoOp", {"TRAINER__COOP__CLASS_TOKEN_POSITION": "centre"}, "unknown class token position 'centre'"),
        ("IVLP", {"TRAINER__IVLP__N_CTX_TEXT": -1}, "cannot have -1 tokens"),
        ("IVLP", {"TRAINER__IVLP__CTX_INIT": "a", "TRAINER__IVLP__N_CTX_TEXT": 3}, "fewer than the 3 to learn"),
        ("IVLP", {"TRAINER__IVLP__N_CTX_TEXT": 74}, "needs .* positions and the tokens before it 75"),
        ("PromptSRC", {"TRAINER__PROMPTSRC__GPA_STD": 0}, "standard deviation 0"),
        ("PromptSRC", {"TRAINER__PROMPTSRC__GPA_MEAN": 1000}, "vanish on all"),
        ("ZeroshotCLIP", {"TRAINER__ZSCLIP__TEMPLATE": "a photo."}, "must hold {} once"),
        ("ZeroshotCLIP", {"TRAINER__ZSCLIP__TEMPLATE": "a {} of {name}."}, "must hold {} once"),
        ("VPT", {"TRAINER__VPT__N_CTX_VISION": 0}, r"no tokens to learn; look at TRAINER\.VPT .*N_CTX_VISION"),
        ("IVLP", {"TRAINER__IVLP__N_CTX_VISION": 0, "TRAINER__IVLP__N_CTX_TEXT": 0}, r"no tokens .* TRAINER\.IVLP"),
        ("MaPLe", {"TRAINER__MAPLE__PROMPT_DEPTH": 0}, "at least one token in one layer"),
        ("MPL", {"TRAINER__MPL__N_RM_OP": 3}, r"removes 3.*TRAINER\.MPL \(.*N_RM_OP"),
        (
            "CoOp",
            {"TRAINER__COOP__CTX_INIT": "an orthorectified", "TRAINER__COOP__CLASS_TOKEN_POSITION": "front"},
            "only",
        ),
        ("ZeroshotCLIP", {"TRAINER__ZSCLIP__TEMPLATE": "un{}."}, "needs a space before"),
        ("CoOp", {"TRAINER__CASPL__TEACHER_SCALE": "studnt"}, "student or teacher, not 'studnt'"),
        ("CoOp", {"TRAINER__CASPL__REFERENCE": "boostd"}, "plain or boosted"),
        ("CoOp", {"TEST__FINAL_MODEL": "foo"}, "last_step or best_val"),
    ],
)
def test_wrong_settings(
    row: str, settings: dict[str, Any], sentence: str, clips: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(CasPLError, match=sentence):
        build(CASE[row], False, clips, tmp_path, **settings)


def test_a_skipped_step_leaves_the_tokens(clips: dict[str, str], tmp_path: Path) -> None:
    """What a loss scaler does when gradients overflow; the schedule goes on all the same."""

    trainer = build(CASE["CoOp"], False, clips, tmp_path)
    trainer.step.scaler = torch.amp.GradScaler("cpu", init_scale=1e38)
    before = trainer.segments.learned()["text.adapting.values"].clone()
    trainer.forward_backward(batch())
    assert torch.equal(trainer.segments.learned()["text.adapting.values"], before)
    assert trainer.step.skipped == 1
    trainer.step.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    trainer.forward_backward(batch())
    assert not torch.equal(trainer.segments.learned()["text.adapting.values"], before)
    assert trainer.step.skipped == 1


@pytest.mark.parametrize(
    ("mode", "device", "weights", "autocast", "scaled"),
    [
        ("fp32", "cuda", torch.float32, None, False),
        ("fp16", "cuda", torch.float16, None, True),
        ("fp16", "cpu", torch.float32, None, False),
        ("bf16", "cuda", torch.bfloat16, None, False),
        ("amp", "cuda", torch.float16, torch.float16, True),
        ("amp", "cpu", torch.bfloat16, torch.bfloat16, False),
    ],
)
def test_precision_modes(
    mode: str, device: str, weights: torch.dtype, autocast: torch.dtype | None, scaled: bool
) -> None:
    precision = Precision(mode, torch.device(device))
    assert (precision.weights, precision.autocast, precision.scaled) == (weights, autocast, scaled)


def test_evaluation_with_other_settings_is_refused(clips: dict[str, str], tmp_path: Path) -> None:
    """Tensors of the same names and shapes may mean something else under other settings, or in another method."""
    trainer = build(CASE["MPL"], False, clips, tmp_path, TRAINER__MPL__N_RM_OP=1)
    keep_settings(trainer.cfg, trainer.sections())
    trainer.save_model(0, str(tmp_path / "run"))
    with pytest.raises(CasPLError, match=r"N_RM_OP 1 there, 2 here\); evaluate it with the config"):
        build(CASE["MPL"], False, clips, tmp_path).load_model(str(tmp_path / "run"))
    build(CASE["MPL"], False, clips, tmp_path, "amp", TRAINER__MPL__N_RM_OP=1).load_model(str(tmp_path / "run"))

    source = build(CASE["PromptSRC"], False, clips, tmp_path / "src")
    keep_settings(source.cfg, source.sections())
    source.save_model(0, str(tmp_path / "src" / "run"))
    build(CASE["PromptSRC"], False, clips, tmp_path, TRAINER__PROMPTSRC__GPA_STD=7).load_model(
        str(tmp_path / "src" / "run")
    )
    with pytest.raises(CasPLError, match="was trained with other settings"):
        build(CASE["IVLP"], False, clips, tmp_path).load_model(str(tmp_path / "src" / "run"))


def test_words_that_phase_1_does_not_learn_are_left_away(clips: dict[str, str], tmp_path: Path) -> None:
    """Phase 2 gets tokens alone, so the student must not have seen other words."""
    settings = {"TRAINER__CASPL__N_CTX_TEXT": 2, "TRAINER__CASPL__CTX_INIT": "a photo of a"}
    settings |= {"TRAINER__CASPL__TEACHER": clips["teacher"], "TRAINER__CASPL__BOOSTING_DIR": str(tmp_path)}
    cfg = make_cfg("CasPL", clips["student"], SIZES.resolution, DATASET__NAME="EuroSAT", **settings)
    text = make_trainer(cfg, CLASSES).model.text
    assert [type(piece) for piece in text.before] == [Segment]
    photo = text_context(tiny_clip().text, 2, 1, "a photo", "adapting")[0]
    torch.testing.assert_close(text.segments["boosting"].values[0], photo.values[0])


def test_the_ensemble_is_clips_own_selection(clips: dict[str, str], tmp_path: Path) -> None:
    open_clip = pytest.importorskip("open_clip")
    published = {template("x") for template in open_clip.SIMPLE_IMAGENET_TEMPLATES}
    assert {template.format("x") for template in SELECTED} == published
    for dataset, own in (("ImageNet", 0), ("ImageNetV2", 1), ("EuroSAT", 1)):
        text = build(CASE["ZeroshotCLIP2"], False, clips, tmp_path, DATASET__NAME=dataset).model.text
        assert len(text.parts) == 7 + own


def test_boosting_tokens_for_something_else_are_warned_of(
    clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("trainers"), "propagate", True)  # whatever ran before
    build(CASE["CoOp"], True, clips, tmp_path)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    monkeypatch.setattr("tests.trainers.building.CLASSES", (*CLASSES, "Glacier"))
    build(CASE["CoOp"], True, clips, tmp_path, DATASET__NAME="UCF101")
    warned = " ".join(record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)
    assert "were learned for EuroSAT" in warned
    assert "were learned without the class Glacier" in warned


def test_class_names_that_a_student_cannot_tell_apart_are_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("trainers"), "propagate", True)  # whatever ran before
    cfg = make_cfg("CoOp", "tiny-student", 32)
    make_trainer(cfg, ["red stripes", "orange grid"])
    assert "knows no word" not in caplog.text
    make_trainer(cfg, ["red stripes", "seven", "eight"])
    assert "tiny-student knows no word of seven, eight" in caplog.text
