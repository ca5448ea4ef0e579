"""``DATASET.TEXTS``: texts of a user's own for zero-shot, teachers and references, and in boosting files."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from caspl.dassl.outcome import recipe, settings
from caspl.errors import CasPLError
from caspl.predictor.onnx import open_text
from caspl.prompts import Prompts
from caspl.towers import tokenize
from tests.cases import CASES, taught
from tests.conftest import CLASSES
from tests.stubs import make_cfg, make_trainer
from tests.tiny_clip import SIZES, tiny_clip
from tests.trainers.building import batch, build, logits

CASE = {case.trainer: case for case in CASES}
TEXTS = {name.replace(" ", "_"): [f"{name} from far above", "green land", f"a map of {name}"] for name in CLASSES}
TEXTS[CLASSES[1].replace(" ", "_")] = ["one text alone"]


def write(folder: Path, content: Any = TEXTS, name: str = "texts.json") -> dict[str, Any]:
    (folder / name).write_text(json.dumps(content))
    return {"DATASET__TEXTS": str(folder / name)}


def expected(clip: Any = None) -> torch.Tensor:
    """Of each class the mean of its texts' normalised features, text by text."""
    clip, rows = clip or tiny_clip(), []
    with torch.no_grad():
        for texts in TEXTS.values():
            features = [F.normalize(clip.encode_text(tokenize(text)).float()[0], dim=-1) for text in texts]
            rows.append(F.normalize(torch.stack(features).mean(0), dim=-1))
    return torch.stack(rows)


@pytest.mark.parametrize("name", ["ZeroshotCLIP", "ZeroshotCLIP2"])
def test_zero_shot(name: str, clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASE[name], False, clips, tmp_path, **write(tmp_path))
    with torch.no_grad():
        image = trainer.model.encode_image(batch(9)["img"].to(trainer.device)).cpu()
    scale = trainer.model.scale.cpu()
    torch.testing.assert_close(logits(trainer), scale * image @ expected().t(), rtol=1e-4, atol=1e-3)
    assert Prompts.of(trainer.model.description).describe() == trainer.model.description
    assert open_text(trainer.model) == "its texts come from a file"
    with pytest.raises(CasPLError, match="no texts for 1 of 2 classes .A new class."):
        trainer.model.set_classes([CLASSES[2], "A new class"])


@pytest.mark.parametrize("name", ["KgCoOp", "TCP", "ProGrad", "PromptSRC", "PromptOT", "CoPrompt"])
def test_references(name: str, clips: dict[str, str], tmp_path: Path) -> None:
    for boosted in (False, True):
        trainer = build(CASE[name], boosted, clips, tmp_path, **write(tmp_path))
        torch.testing.assert_close(trainer.reference.text, expected(), rtol=1e-4, atol=1e-5)
    more = {"TRAINER__CASPL__REFERENCE": "boosted"}
    found = [build(CASE[name], True, clips, tmp_path, **more, **own).reference for own in ({}, write(tmp_path))]
    torch.testing.assert_close(found[0].text, found[1].text)


def test_teachers(clips: dict[str, str], tmp_path: Path) -> None:
    own = write(tmp_path)
    trainer = build(taught(CASE["CoOp"]), False, clips, tmp_path, **own)
    torch.testing.assert_close(trainer.teacher.text, expected(trainer.teacher.encoder.clip), rtol=1e-4, atol=1e-5)
    boosting = phase_1(clips, tmp_path, **own)
    text = boosting.distillation.teacher.text
    torch.testing.assert_close(text, trainer.teacher.text)
    first = phase_1(clips, tmp_path, TRAINER__CASPL__TEACHER_TEMPLATE="a {}.", **own).distillation.teacher.text
    torch.testing.assert_close(
        first, phase_1(clips, tmp_path, TRAINER__CASPL__TEACHER_TEMPLATE="a {}.").distillation.teacher.text
    )
    assert not torch.allclose(first, text, atol=1e-2)


def phase_1(clips: dict[str, str], folder: Path, **more: Any) -> Any:
    settings = {"TRAINER__CASPL__TEACHER": clips["teacher"], "TRAINER__CASPL__BOOSTING_DIR": str(folder / "boosting")}
    trainer = make_trainer(make_cfg("CasPL", clips["student"], SIZES.resolution, **settings, **more), CLASSES)
    trainer.start()
    return trainer


def test_a_boosting_file_tells_texts_apart_by_what_they_say(clips: dict[str, str], tmp_path: Path) -> None:
    none = phase_1(clips, tmp_path).header()
    one = phase_1(clips, tmp_path, **write(tmp_path)).header()
    moved = phase_1(clips, tmp_path, **write(tmp_path, dict(reversed(TEXTS.items())), "elsewhere.json")).header()
    changed = TEXTS | {CLASSES[1].replace(" ", "_"): ["another text"]}
    other = phase_1(clips, tmp_path, **write(tmp_path, changed, "other.json")).header()
    assert one.recipe == moved.recipe
    assert len({none.recipe, one.recipe, other.recipe}) == 3
    assert one.template.startswith("texts ")
    assert one.template == moved.template != other.template


def test_runs_without_texts_are_what_they_were() -> None:
    cfg = make_cfg("CasPL", "tiny-student", 32)
    assert "DATASET.TEXTS" not in settings(cfg.dump(), {})
    older = cfg.clone()
    older.defrost()
    del older.DATASET["TEXTS"]
    assert recipe(cfg, {}) == recipe(older, {})


def test_where_they_are_missing_or_not_read(
    clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("trainers"), "propagate", True)  # whatever ran before
    some = write(tmp_path, {CLASSES[0]: ["a text"]})
    for build_one in (
        lambda: build(CASE["ZeroshotCLIP"], False, clips, tmp_path, **some),
        lambda: build(CASE["KgCoOp"], False, clips, tmp_path, **some),
        lambda: phase_1(clips, tmp_path, **some),
    ):
        with pytest.raises(CasPLError, match=rf"no texts for {len(CLASSES) - 1} of {len(CLASSES)} classes"):
            build_one()
    with pytest.raises(CasPLError, match=r"cannot be read .*it is DATASET\.TEXTS"):
        build(CASE["KgCoOp"], False, clips, tmp_path, DATASET__TEXTS=str(tmp_path / "missing.json"))
    build(CASE["ZeroshotCLIP"], True, clips, tmp_path, **some)
    assert "DATASET.TEXTS is not read: behind boosting tokens stands the name alone" in caplog.text
