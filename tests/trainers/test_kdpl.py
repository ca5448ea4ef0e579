"""Methods taught by a frozen model, plain and cascaded: steps, what learns, resuming, dictionaries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from caspl.errors import CasPLError
from caspl.teachers.dictionary import read_dictionary
from tests.cases import CASES, Case
from tests.trainers.building import batch, build, logits

NAMES = ("CoOp", "CoCoOp", "VPT", "MaPLe", "PromptSRC", "KgCoOp", "LASP", "COMMA", "BayesPrompt", "CoPrompt")
TAUGHT = [case for case in CASES if case.trainer in NAMES]


def taught(case: Case, boosted: bool, clips: dict[str, str], folder: Path, **more: Any) -> Any:
    """``KDPL_X`` of a row, by the small teacher."""
    given = {"TRAINER__KDPL__TEACHER": clips["teacher"]} | more
    return build(replace(case, trainer=f"KDPL_{case.trainer}"), boosted, clips, folder, **given)


@pytest.mark.parametrize("boosted", [False, True])
@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("case", TAUGHT, ids=lambda case: case.trainer)
def test_a_step_changes_what_the_method_learns(
    case: Case, agnostic: bool, boosted: bool, clips: dict[str, str], tmp_path: Path
) -> None:
    names = {"CLASS_AGNOSTIC": True, "DICTIONARY": "tinyworld", "K_MAX": 5} if agnostic else {}
    trainer = taught(case, boosted, clips, tmp_path, **{f"TRAINER__KDPL__{key}": value for key, value in names.items()})
    state = trainer._models[trainer.saved_as]
    tokens = {name: value.detach().clone() for name, value in state.named_parameters()}
    numbers = trainer.forward_backward(batch())
    assert all(torch.isfinite(value) for value in numbers.values())
    changed = {name for name, value in state.named_parameters() if not torch.equal(value, tokens[name])}
    assert changed == case.trained
    assert logits(trainer).shape == (4, trainer.num_classes)  # tests are about the true names


def test_tokens_of_each_class_s_own_are_no_choice(clips: dict[str, str], tmp_path: Path) -> None:
    case = next(case for case in CASES if case.trainer == "TCP")
    more = {"TRAINER__KDPL__CLASS_AGNOSTIC": True, "TRAINER__KDPL__DICTIONARY": "tinyworld", "TRAINER__KDPL__K_MAX": 5}
    with pytest.raises(CasPLError, match="some of them cannot be chosen"):
        taught(case, False, clips, tmp_path, **more).forward_backward(batch())


def test_labels_do_not_matter_and_the_teacher_does(clips: dict[str, str], tmp_path: Path) -> None:
    case, losses = TAUGHT[0], []
    for teacher, shift in (("teacher", 0), ("teacher", 1), ("student", 0)):
        trainer = taught(case, True, clips, tmp_path, TRAINER__KDPL__TEACHER=clips[teacher])
        given = batch()
        given["label"] = (given["label"] + shift) % trainer.num_classes
        losses.append(float(trainer.forward_backward(given)["loss"]))
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_save_load_and_new_classes(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = taught(TAUGHT[0], True, clips, tmp_path)
    trainer.forward_backward(batch())
    trainer.save_model(0, str(tmp_path / "run"))
    expected = logits(trainer)
    again = taught(TAUGHT[0], True, clips, tmp_path, SEED=5)
    again.load_model(str(tmp_path / "run"), epoch=1)
    assert torch.equal(logits(again), expected)


def test_a_dictionary_is_asked_for_and_read(clips: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(CasPLError, match="CLASS_AGNOSTIC needs a TRAINER.KDPL.DICTIONARY"):
        taught(TAUGHT[0], False, clips, tmp_path, TRAINER__KDPL__CLASS_AGNOSTIC=True)
    file = tmp_path / "names.txt"
    file.write_text("cat\n\nan old dog\ncat\n")
    assert read_dictionary(str(file)) == ["cat", "an old dog"]
    with pytest.raises(CasPLError):
        read_dictionary(str(tmp_path / "missing.txt"))
