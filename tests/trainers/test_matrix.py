"""Every registered adapting trainer, plain and cascaded: build, one step in each precision, what trains, save, load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from caspl.step import MODES
from dassl.engine import TRAINER_REGISTRY
from tests.cases import CASES, ON_KEPT_FEATURES, TEXT, Case
from tests.conftest import CLASSES
from tests.device import DEVICE
from tests.trainers.building import batch, build, logits

# On a CPU fp16 computes in float32: tests/step has it on fake CUDA tensors.
PRECISIONS = [mode for mode in MODES if mode != "fp16" or DEVICE.type != "cpu"]


def rows(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """Every case, plain and cascaded."""
    pairs = [(case, boosted) for case in cases for boosted in (False, True)]
    names = [("CasPL_" if boosted else "") + case.trainer for case, boosted in pairs]
    return pytest.mark.parametrize(("case", "boosted"), pairs, ids=names)


every_row, every_learning_row = rows(CASES), rows([case for case in CASES if case.trained])


def test_every_adapting_trainer_has_a_row() -> None:
    everything = TRAINER_REGISTRY.registered_names()  # among it what other tests register
    ours = {name for name in everything if TRAINER_REGISTRY.get(name).__module__.startswith("trainers.")}
    names = {name for name in ours if not name.startswith(("CasPL", "KDPL_"))}
    assert names - ON_KEPT_FEATURES == {case.trainer for case in CASES} & ours  # and those of plug-ins
    learning = {case.trainer for case in CASES if case.trained and not case.trainer.startswith("FDBPL_")} & ours
    taught = {f"KDPL_{name}" for name in learning if TRAINER_REGISTRY.get(name).labelled}
    assert ours == names | taught | {f"CasPL_{name}" for name in names | taught} | {"CasPL"}


@every_row
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_step_changes_exactly_what_is_declared(
    case: Case, boosted: bool, precision: str, clips: dict[str, str], tmp_path: Path
) -> None:
    trainer = build(case, boosted, clips, tmp_path, precision)
    model = trainer.model
    assert {name for name, segment in model.segments().items() if "boosting" in name} == (
        ({"vision.boosting"} | ({"text.boosting"} if case.texts else set())) if boosted else set()
    )
    if not case.trained:
        assert torch.isfinite(logits(trainer)).all()
        return
    state = trainer._models[trainer.saved_as]
    before = {name: value.clone() for name, value in model.clip.state_dict().items()}
    tokens = {name: value.detach().clone() for name, value in state.named_parameters()}
    summary = trainer.forward_backward(batch())
    assert all(torch.isfinite(value) for value in summary.values())
    changed = {name for name, value in state.named_parameters() if not torch.equal(value, tokens[name])}
    assert changed == case.trained
    assert set(trainer.segments.learned()) == case.trained
    assert {name for name, parameter in state.named_parameters() if parameter.requires_grad} == case.trained
    assert all(parameter.dtype == torch.float32 for parameter in state.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.clip.state_dict().items())
    assert all(parameter.grad is None for parameter in model.clip.parameters())


@every_row
def test_precisions_agree(case: Case, boosted: bool, clips: dict[str, str], tmp_path: Path) -> None:
    """With tokens so large that without them the probabilities would be further off than what is tolerated.

    On a GPU all of them agree with float32 on the CPU.
    """

    def probabilities(precision: str, factor: float, **more: Any) -> torch.Tensor:
        trainer = build(case, boosted, clips, tmp_path, precision, **more)
        for parameter in trainer.segments.parameters():
            parameter.data *= factor
        return logits(trainer).softmax(-1)

    exact = probabilities("fp32", 20, USE_CUDA=False)
    if DEVICE.type != "cpu":
        assert (probabilities("fp32", 20) - exact).abs().max() < 1e-3
    for precision in set(PRECISIONS) - {"fp32"}:
        assert (probabilities(precision, 20) - exact).abs().max() < 0.03, precision
    if boosted or TEXT in case.trained:  # a small image tower hardly heeds its tokens
        assert (probabilities("fp32", 0) - exact).abs().max() > 0.03


@every_learning_row
def test_save_load_and_new_classes(case: Case, boosted: bool, clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(case, boosted, clips, tmp_path)
    trainer.forward_backward(batch())
    trainer.save_model(0, str(tmp_path / "run"))
    expected = logits(trainer)

    again = build(case, boosted, clips, tmp_path, SEED=5)
    assert not torch.equal(logits(again), expected)
    again.load_model(str(tmp_path / "run"), epoch=1)
    assert torch.equal(logits(again), expected)
    again.load_model(str(tmp_path / "run"))  # without an epoch: the last
    again.model.set_classes(["Pasture", "River", "A new class"])
    new = logits(again)
    assert new.shape == (4, 3)
    kept = torch.tensor([CLASSES.index("Pasture"), CLASSES.index("River")])
    if trainer.model.text.samples:  # logarithms of probabilities, which depend on the other classes
        new, expected = again.model.encode_text()[0, :, :2], trainer.model.encode_text()[0, :, kept]
        torch.testing.assert_close(new, expected, rtol=0, atol=1e-5)
        return
    torch.testing.assert_close(new[:, :2], expected[:, kept], rtol=0, atol=1e-3)


class Killed(Exception):
    """Stands for a signal in the middle of an epoch."""


def train(trainer: Any, kill_in_epoch: int | None = None) -> dict[str, torch.Tensor]:
    """Run a trainer over batches in memory and return what it learned."""

    def batches() -> Iterator[dict[str, torch.Tensor]]:
        yield batch(1)
        if trainer.epoch == kill_in_epoch:
            raise Killed
        yield batch(2)

    class Loader:
        def __len__(self) -> int:
            return 2

        def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
            return batches()

    trainer.train_loader_x, trainer.test_loader = Loader(), [batch(3)]
    trainer.train()
    return {name: value.detach().clone() for name, value in trainer.segments.learned().items()}


@every_row
def test_resume_and_eval_only(case: Case, boosted: bool, clips: dict[str, str], tmp_path: Path) -> None:
    def again(folder: str, **more: Any) -> Any:
        return build(case, boosted, clips, tmp_path, OUTPUT_DIR=str(tmp_path / folder), OPTIM__MAX_EPOCH=3, **more)

    trainer = again("whole")
    whole = train(trainer)
    assert whole.keys() == case.trained
    if case.trained:
        with pytest.raises(Killed):
            train(again("broken"), kill_in_epoch=1)
        resumed = train(again("broken"))
        assert all(torch.equal(resumed[name], value) for name, value in whole.items())

    evaluated = again("elsewhere", SEED=5)
    evaluated.test_loader = [batch(3)]
    evaluated.load_model(str(tmp_path / "whole"))
    assert evaluated.test() == trainer.test()
    assert torch.equal(logits(evaluated), logits(trainer))
