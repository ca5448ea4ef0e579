"""Methods taught by a frozen model, plain and cascaded: steps, what learns, resuming, dictionaries, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from caspl.errors import CasPLError
from caspl.losses import both_ways, most_probable
from caspl.model import Output
from caspl.step import Batch, Terms
from caspl.teachers.dictionary import read_dictionary
from dassl.engine import TRAINER_REGISTRY
from tests.cases import AGNOSTIC, CASES, TAUGHT, Case, taught
from tests.conftest import CLASSES
from tests.no_data import without_data
from tests.stubs import make_cfg
from tests.tiny_clip import SIZES
from tests.trainers.building import batch, build, logits

BOTH = [pytest.param(case, id=f"{case.trainer}{' agnostic' * (case in AGNOSTIC)}") for case in (*TAUGHT, *AGNOSTIC)]


@pytest.mark.parametrize("boosted", [False, True])
@pytest.mark.parametrize("case", BOTH)
def test_a_step_changes_what_the_method_learns(
    case: Case, boosted: bool, clips: dict[str, str], tmp_path: Path
) -> None:
    trainer = build(case, boosted, clips, tmp_path)
    state = trainer._models[trainer.saved_as]
    tokens = {name: value.detach().clone() for name, value in state.named_parameters()}
    numbers = trainer.forward_backward(batch())
    assert all(torch.isfinite(value) for value in numbers.values())
    changed = {name for name, value in state.named_parameters() if not torch.equal(value, tokens[name])}
    assert changed == case.trained
    assert logits(trainer).shape == (4, trainer.num_classes)  # tests are about the true names


@pytest.mark.parametrize("case", BOTH)
def test_in_chunks_of_classes_the_same(case: Case, clips: dict[str, str], tmp_path: Path) -> None:
    """A budget of one byte keeps no class: each runs alone, and twice."""
    found = []
    for budget in (0, 1):
        trainer = build(case, True, clips, tmp_path)
        trainer.learner.text_budget = budget
        loss = trainer.forward_backward(batch())["loss"]
        found.append([loss, *(value.detach().clone() for value in trainer.segments.learned().values())])
    for chunked, whole in zip(*found, strict=True):
        torch.testing.assert_close(chunked, whole, rtol=1e-4, atol=1e-5)


def test_tokens_of_each_class_s_own_are_no_choice(clips: dict[str, str], tmp_path: Path) -> None:
    case = taught(next(case for case in CASES if case.trainer == "TCP"))
    more = {"TRAINER__KDPL__CLASS_AGNOSTIC": True, "TRAINER__KDPL__DICTIONARY": "tinyworld", "TRAINER__KDPL__K_MAX": 5}
    with pytest.raises(CasPLError, match="some of them cannot be chosen"):
        build(case, False, clips, tmp_path, **more).forward_backward(batch())


def test_labels_do_not_matter_and_the_teacher_does(clips: dict[str, str], tmp_path: Path) -> None:
    losses = []
    for teacher, shift in (("teacher", 0), ("teacher", 1), ("student", 0)):
        trainer = build(TAUGHT[0], True, clips, tmp_path, TRAINER__KDPL__TEACHER=clips[teacher])
        given = batch()
        given["label"] = (given["label"] + shift) % trainer.num_classes
        losses.append(float(trainer.forward_backward(given)["loss"]))
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_save_load_and_new_classes(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(TAUGHT[0], True, clips, tmp_path)
    trainer.forward_backward(batch())
    trainer.save_model(0, str(tmp_path / "run"))
    expected = logits(trainer)
    again = build(TAUGHT[0], True, clips, tmp_path, SEED=5)
    again.load_model(str(tmp_path / "run"), epoch=1)
    assert torch.equal(logits(again), expected)


def test_loss_and_choice_by_hand() -> None:
    """Worked out for two images of three classes; the mean of logits would choose other names than probabilities."""
    teacher, student = torch.tensor([[2.0, 1, 0], [0, 3, 0]]), torch.tensor([[1.0, 1, 0], [0, 1, 2]])
    assert [float(value) for value in both_ways(student, teacher)] == pytest.approx([0.5803, 0.8258], abs=1e-4)
    logits = torch.tensor([[6, 5.5, 5, 0, 0], [-9, 2, 3.5, 3.4, 3.2]])
    assert sorted(most_probable(logits, 2).tolist()) == [0, 2]
    assert sorted(logits.mean(0).topk(2).indices.tolist()) == [1, 2]


def test_a_dictionary_is_asked_for_and_read(clips: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(CasPLError, match="CLASS_AGNOSTIC needs a TRAINER.KDPL.DICTIONARY"):
        build(TAUGHT[0], False, clips, tmp_path, TRAINER__KDPL__CLASS_AGNOSTIC=True)
    file = tmp_path / "names.txt"
    file.write_text("cat\n\nan old dog\ncat\n")
    assert read_dictionary(str(file)) == ["cat", "an old dog"]
    with pytest.raises(CasPLError):
        read_dictionary(str(tmp_path / "missing.txt"))


def test_a_run_goes_on_with_the_dictionary_that_it_was_begun_with(clips: dict[str, str], tmp_path: Path) -> None:
    """By what is in the file, not by its name; a run that knows its classes does not look into it."""
    file = tmp_path / "names.txt"
    file.write_text("cat\ndog\nbird\n")

    def begin(case: Case) -> None:
        trainer = build(case, False, clips, tmp_path, TRAINER__KDPL__DICTIONARY=str(file))
        trainer.save_model(0, trainer.output_dir)
        trainer.train_loader_x = []
        trainer.before_train()

    begin(AGNOSTIC[0])
    file.write_text("cat\n\ndog\nbird\ncat")  # the same names
    begin(AGNOSTIC[0])
    file.write_text("cat\ndog\nfish\n")
    with pytest.raises(CasPLError, match=r"in which TRAINER\.KDPL\.DICTIONARY held something else"):
        begin(AGNOSTIC[0])
    (tmp_path / "run" / "config.yaml").unlink()
    begin(TAUGHT[0])


def test_class_specific_tokens_are_refused_where_classes_are_not_known(clips: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(CasPLError, match="'adapting' are each class's own"):
        build(AGNOSTIC[0], False, clips, tmp_path, TRAINER__COOP__CSC=True)
    build(TAUGHT[0], False, clips, tmp_path, TRAINER__COOP__CSC=True)


def test_a_method_whose_losses_leave_the_labels_in_is_refused_when_it_is_built(clips: dict[str, str]) -> None:
    """Before it has read anything."""
    coop = TRAINER_REGISTRY.get("KDPL_CoOp")

    class Own(TRAINER_REGISTRY.get("CoOp")):  # type: ignore[misc]
        def losses(self, output: Output, batch: Batch) -> Terms:
            return {"own": output.logits.mean()}

    made = type("KDPL_Own", (coop.__mro__[1], Own), {})
    cfg = make_cfg("KDPL_CoOp", clips["student"], SIZES.resolution)
    with pytest.raises(CasPLError, match=r"^Own: its losses do not ask super\(\)\.losses\(\)"):
        without_data(made, CLASSES)(cfg)
