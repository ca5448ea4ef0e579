"""Methods taught by a teacher's answers to regions: terms, labels of few logits, negative texts, what is refused."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from caspl.build import load_model
from caspl.errors import CasPLError
from caspl.group import Group
from caspl.losses import both_ways
from caspl.losses.regions import certainty
from caspl.runtime import Place
from caspl.step import Batch, Step
from caspl.step.graph import WARM
from tests.cases import CASES, Case
from tests.conftest import CLASSES
from tests.device import DEVICE
from tests.step.tape import TapeRecorder
from tests.stubs import make_cfg, make_trainer
from tests.tiny_clip import SIZES
from tests.trainers.building import batch, build, logits

COOP, PROMPTSRC = (next(case for case in CASES if case.trainer == f"FDBPL_{name}") for name in ("CoOp", "PromptSRC"))
NEGATIVE = "text.negative.values"


def taught(case: Case, clips: dict[str, str], folder: Path, boosted: bool = False, **more: Any) -> Any:
    """The trainer of a row with settings of FDBPL's."""
    return build(case, boosted, clips, folder, **{f"TRAINER__FDBPL__{key}": value for key, value in more.items()})


def stepped(trainer: Any) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Numbers of a step, and what is learned after it."""
    numbers = {name: float(value) for name, value in trainer.forward_backward(batch()).items()}
    return numbers, {name: value.detach().clone() for name, value in trainer.segments.learned().items()}


def test_labels_do_not_matter_and_the_teacher_does(clips: dict[str, str], tmp_path: Path) -> None:
    losses = []
    for teacher, shift in (("teacher", 0), ("teacher", 1), ("student", 0)):
        trainer = taught(COOP, clips, tmp_path, TEACHER=clips[teacher])
        given = batch()
        given["label"] = (given["label"] + shift) % trainer.num_classes
        losses.append(float(trainer.forward_backward(given)["loss"]))
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("boosted", [False, True])
def test_the_margin_moves_both_contexts_and_the_released_form_none(
    boosted: bool, clips: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a run without the term, by a teacher that is rather sure of another class in each image."""
    found, sure = {}, 3 * torch.eye(4, len(CLASSES))
    for name, options in (
        ("none", {"PCD_WEIGHT": 0.0}),
        ("released", {"PCD": "released"}),
        ("margin", {"PCD_WEIGHT": 10.0}),
    ):
        trainer = taught(COOP, clips, tmp_path, boosted, **options)
        monkeypatch.setattr(trainer, "teachers_logits", lambda batch: sure.to(batch.images.device))
        found[name] = stepped(trainer)
    assert "difference" not in found["none"][0]
    assert abs(found["released"][0]["difference"]) < 1e-6
    assert found["margin"][0]["difference"] > 0.1
    for tensor, value in found["none"][1].items():
        torch.testing.assert_close(found["released"][1][tensor], value, rtol=0, atol=1e-6)
        assert (found["margin"][1][tensor] - value).abs().max() > 1e-5


def test_the_terms_of_a_method_without_negative_texts(clips: dict[str, str], tmp_path: Path) -> None:
    """KDPL's two, times the mean weight as released, or each image's by its own."""
    numbers = {}
    for weights in ("released", "image"):
        trainer = taught(PROMPTSRC, clips, tmp_path, WEIGHTS=weights)
        with torch.no_grad():
            given = Batch.of(batch(), trainer.device)
            answers, own = trainer.teachers_logits(given), trainer.model(given.images).logits
        mean = float(certainty(answers).mean())
        each = [both_ways(own[i : i + 1], answers[i : i + 1]) for i in range(4)]
        plain, reverse = ([float(pair[way]) for pair in each] for way in (0, 1))
        by = [mean] * 4 if weights == "released" else certainty(answers).tolist()
        numbers[weights], _ = stepped(trainer)
        for name, parts in (("kl_teacher", plain), ("kl_student", reverse)):
            expected = sum(0.5 * weight * part for weight, part in zip(by, parts, strict=True)) / 4
            assert numbers[weights][name] == pytest.approx(expected, rel=1e-4)
        assert {"text", "image", "logits"} < set(numbers[weights])  # the method's own
        assert not {"negative", "cosine", "difference"} & set(numbers[weights])
    assert numbers["released"]["kl_teacher"] != numbers["image"]["kl_teacher"]


def test_labels_of_few_logits(clips: dict[str, str], tmp_path: Path) -> None:
    def labels(**options: Any) -> torch.Tensor:
        trainer = taught(COOP, clips, tmp_path, **options)
        found: torch.Tensor = trainer.labels(Batch.of(batch(), trainer.device))
        return found

    whole = labels()
    for k in (len(CLASSES), 1000):
        assert torch.equal(labels(TOP_K=k), whole)
        assert torch.equal(labels(TOP_K=k, TAIL="released"), whole)
    shared, released = labels(TOP_K=2), labels(TOP_K=2, TAIL="released")
    two = whole.topk(2).indices
    torch.testing.assert_close(shared.exp().gather(1, two), whole.softmax(-1).gather(1, two))
    torch.testing.assert_close(shared.exp().sum(1), torch.ones(4))
    assert torch.equal(released.gather(1, two), whole.gather(1, two))
    assert not torch.allclose(released.softmax(-1), shared.exp(), atol=1e-3)


def test_images_are_classified_by_what_a_class_is(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = taught(COOP, clips, tmp_path)
    before, learned = logits(trainer), trainer.segments.learned()
    with torch.no_grad():
        learned[NEGATIVE].mul_(50)
    assert torch.equal(logits(trainer), before)
    with torch.no_grad():
        learned["text.adapting.values"].mul_(50)
    assert not torch.equal(logits(trainer), before)


def test_a_checkpoint_alone_gives_the_model_again(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = taught(COOP, clips, tmp_path, True)
    stepped(trainer)
    trainer.save_model(0, str(tmp_path / "run"))
    model = load_model(tmp_path / "run")
    images = batch(9)["img"]
    with torch.no_grad():
        torch.testing.assert_close(model(images).logits, logits(trainer), rtol=0, atol=1e-4)
    assert set(model(images).others) == {"negative"}


@pytest.mark.skipif(DEVICE.type != "cpu", reason="emulated on a CPU")
@pytest.mark.parametrize("tail", ["shared", "released"])
def test_recorded_steps_from_kept_features(tail: str, clips: dict[str, str], tmp_path: Path) -> None:
    """As they come from a store: no images, and labels of few logits. Bit for bit as without a recording."""
    found = []
    for recorder in (None, TapeRecorder()):
        trainer = taught(COOP, clips, tmp_path, TOP_K=3, TAIL=tail)
        step = Step(trainer.model, trainer.losses, trainer.optim, trainer.precision, recorder=recorder)
        step.begin_epoch()
        told = []
        for number in range(WARM + 4):
            given = Batch.of(batch(number), trainer.device)
            with torch.no_grad():
                own, teachers = trainer.model.encode_image(given.images), trainer.teacher.encode_image(given.images)
            told.append(step(replace(given, images=torch.empty(4, 0), kept=teachers, image=own)))
        found.append([float(numbers["loss"]) for numbers in told])
    assert step._recorded is not None
    assert step._recorded.trusted
    assert found[0] == found[1]


def test_how_the_negative_context_starts(clips: dict[str, str], tmp_path: Path) -> None:
    def contexts(**options: Any) -> tuple[torch.Tensor, torch.Tensor]:
        case = replace(COOP, options=options)
        learned = taught(case, clips, tmp_path, NEGATIVE_CTX_INIT="not even a picture of").segments.learned()
        return learned["text.adapting.values"], learned[NEGATIVE]

    words, negative = contexts(CTX_INIT="a photo of a")
    assert (words.shape[1], negative.shape[1]) == (4, 5)
    torch.testing.assert_close(negative[0, 2], words[0, 0])  # the word a
    torch.testing.assert_close(negative[0, 4], words[0, 2])  # and of
    drawn, other = contexts(N_CTX=3)
    assert drawn.shape == other.shape == (1, 3, words.shape[2])
    assert not torch.equal(drawn, other)
    assert contexts(N_CTX=3, CLASS_TOKEN_POSITION="middle")[1].shape == drawn.shape
    assert contexts(N_CTX=3, CSC=True)[1].shape == (1, len(CLASSES), 3, words.shape[2])


@pytest.mark.parametrize("boosted", [False, True])
def test_with_little_memory_for_texts_the_same_is_learned(boosted: bool, clips: dict[str, str], tmp_path: Path) -> None:
    found = []
    for budget in (0, 1):
        trainer = taught(COOP, clips, tmp_path, boosted)
        trainer.model.text_budget = budget  # a byte: one class at a time
        found.append(stepped(trainer))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5, abs=1e-6)
    for tensor, value in found[0][1].items():
        torch.testing.assert_close(found[1][1][tensor], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("case", "options", "key"),
    [(COOP, {"PCD": "released"}, "PCD margin"), (PROMPTSRC, {"WEIGHTS": "image"}, "WEIGHTS released")],
    ids=["CoOp", "PromptSRC"],
)
def test_what_needs_a_batch_whole_is_refused_in_several_processes(
    case: Case, options: dict[str, str], key: str, clips: dict[str, str], tmp_path: Path
) -> None:
    trainer = taught(case, clips, tmp_path)
    trainer.group = Group(Place(0, 2))
    with pytest.raises(CasPLError, match=rf"{case.trainer} needs each batch whole.*{key}\): start one process"):
        trainer.start()
    assert not taught(case, clips, tmp_path, **options).whole_batch


def test_words_that_the_negative_context_cannot_start_from(clips: dict[str, str], tmp_path: Path) -> None:
    case = replace(COOP, options={"CTX_INIT": "a photo", "CLASS_TOKEN_POSITION": "middle"})
    with pytest.raises(CasPLError, match="'unphotographable'.*several tokens each.*TRAINER.FDBPL.NEGATIVE_CTX_INIT"):
        taught(case, clips, tmp_path, NEGATIVE_CTX_INIT="unphotographable")


def test_one_class_is_refused(clips: dict[str, str], tmp_path: Path) -> None:
    settings = {"TRAINER__FDBPL__TEACHER": clips["teacher"], "OUTPUT_DIR": str(tmp_path)}
    trainer = make_trainer(make_cfg("FDBPL_CoOp", clips["student"], SIZES.resolution, **settings), CLASSES[:1])
    with pytest.raises(CasPLError, match="FDBPL_CoOp weighs images by how sure a teacher is among the classes"):
        trainer.start()


def test_settings_that_are_not_read_are_warned_of(
    clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("trainers"), "propagate", True)

    def warned(case: Case, **options: Any) -> list[str]:
        caplog.clear()
        taught(case, clips, tmp_path, **options)
        return [line.split()[0].rpartition(".")[2] for line in caplog.messages if "does not read it here" in line]

    assert warned(COOP, PCD="released", TOP_K=2, TAIL="released") == []
    assert warned(COOP, TAIL="released", WEIGHTS="image") == ["WEIGHTS", "TAIL"]
    assert warned(COOP, PCD="released", MARGIN=0.5) == ["MARGIN"]
    assert warned(PROMPTSRC, WEIGHTS="image", PCD="released", MARGIN=0.5) == ["PCD", "MARGIN"]
