"""LASP beside what its published cases say: the paper's loss, noise, virtual classes, and norms that leave CLIP's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from caspl.losses import text_to_text
from caspl.pixels import Pixels
from caspl.predictor.merged import read_merged, write_merged
from tests.cases import CASES
from tests.conftest import CLASSES
from tests.trainers.building import batch, build, logits

CASE = next(case for case in CASES if case.trainer == "LASP")


@pytest.mark.parametrize("over", ["learned", "crafted"])
def test_the_loss_by_a_plain_computation(over: str) -> None:
    generator = torch.Generator().manual_seed(0)
    learned = F.normalize(torch.randn(4, 8, generator=generator), dim=-1)
    crafted = F.normalize(torch.randn(3, 4, 8, generator=generator), dim=-1)
    total = 0.0
    for texts in crafted:
        for own in range(4):
            pairs = [(other, own) if over == "learned" else (own, other) for other in range(4)]
            scores = torch.stack([10 * learned[i] @ texts[j] for i, j in pairs])
            total -= float(scores.log_softmax(0)[own])
    found = text_to_text(torch.tensor(10.0), learned, crafted, over)
    torch.testing.assert_close(found, torch.tensor(total / 12))


def test_noise_comes_as_often_as_asked_and_alike_again(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASE, False, clips, tmp_path, TRAINER__LASP__NOISE=0.25)
    assert trainer.noise.shape[:2] == (2, len(CLASSES) + 2)  # the names that are not classified have it too
    drawn = []
    for trainer.batch_idx in range(200):
        trainer.draw()
        drawn.append(trainer.noise.clone())
    noisy = [value for value in drawn if value.any()]
    assert 25 < len(noisy) < 75
    assert abs(float(torch.stack(noisy).std()) - 1) < 0.02
    torch.manual_seed(99)  # as after a resume
    for trainer.batch_idx in range(200):
        trainer.draw()
        assert torch.equal(trainer.noise, drawn[trainer.batch_idx])


@pytest.mark.parametrize("boosted", [False, True])
def test_virtual_classes_stand_behind_the_given_ones(boosted: bool, clips: dict[str, str], tmp_path: Path) -> None:
    plain = build(CASE, boosted, clips, tmp_path)
    virtual = build(CASE, boosted, clips, tmp_path, TRAINER__LASP__VIRTUAL=True)
    assert virtual.class_names() == [*CLASSES, "Glacier", "A wide desert"]
    torch.testing.assert_close(logits(virtual)[:, : len(CLASSES)], logits(plain), rtol=0, atol=1e-4)
    assert virtual.more_names is None
    # The same names in another order of passes: the text term agrees.
    terms = [trainer.losses(*seen(trainer))["text"] for trainer in (plain, virtual)]
    torch.testing.assert_close(*terms)


def seen(trainer):  # type: ignore[no-untyped-def]
    from caspl.step import Batch

    given = Batch.of(batch(), trainer.device)
    return trainer.model(given.images), given


def test_a_boosted_reference_is_the_cascade_without_the_context(clips: dict[str, str], tmp_path: Path) -> None:
    boosted = build(CASE, True, clips, tmp_path, TRAINER__CASPL__REFERENCE="boosted")
    alone = build(CASES[0], True, clips, tmp_path)
    assert boosted.crafted.shape[0] == 1
    torch.testing.assert_close(boosted.crafted[0, : len(CLASSES)], alone.model.encode_text().detach())


def test_gradients_are_bounded_and_norms_learn_slowly(clips: dict[str, str], tmp_path: Path) -> None:
    norms = {}
    for bound in (0.0, 1e-3):
        trainer = build(CASE, False, clips, tmp_path, TRAINER__LASP__CLIP_NORM=bound)
        trainer.forward_backward(batch())
        norms[bound] = float(torch.stack([value.grad.norm() for value in trainer.step.learned]).norm())
        rates = [group["lr"] for group in trainer.optim.param_groups]
        assert rates == [pytest.approx(0.01), pytest.approx(0.001)]
    assert norms[0.0] > 1e-2
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-3)


def test_an_exported_predictor_has_the_learned_norms(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASE, False, clips, tmp_path, OPTIM__LR=1.0)
    before = logits(trainer)
    trainer.forward_backward(batch())
    after = logits(trainer)
    assert not torch.equal(before, after)
    trainer.model.cpu()
    sizes = trainer.model.clip.sizes
    write_merged(tmp_path / "made", trainer.model.fixed(), sizes, "quick_gelu", Pixels(32), {})
    found, _, _ = read_merged(tmp_path / "made")
    torch.testing.assert_close(found(batch(9)["img"]), after, rtol=0, atol=1e-4)
