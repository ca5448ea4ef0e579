"""Every trainer's step on fake CUDA tensors: no mix of devices, and nothing in it waits for the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from caspl.model import Output
from caspl.step import MODES, Batch, Precision, Step, Terms, accuracy
from tests.cases import AGNOSTIC, CASES, GUARDED, Case
from tests.conftest import CLASSES
from tests.step.fake import CUDA, Faker
from tests.stubs import make_cfg, make_trainer
from tests.tiny_clip import SIZES
from tests.trainers.building import build

LEARNING = [case for case in CASES if case.trained] + [*GUARDED]
PAIRS = [(case, boosted) for case in LEARNING for boosted in (False, True)]
NAMES = [f"{'CasPL_' if boosted else ''}{case.trainer}{' agnostic' * (case in AGNOSTIC)}" for case, boosted in PAIRS]


@pytest.fixture(autouse=True)
def _as_with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch choose types as where there is a GPU; the loss is not scaled, since that is no part of the guard."""
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    off = torch.amp.GradScaler("cpu", enabled=False)
    monkeypatch.setattr(Precision, "scaler", lambda self: off)


class NothingToTheHost(TorchDispatchMode):
    """Refuses copies from the device to the CPU, which wait for it as a value that is asked for does."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        to_host = torch.device(kwargs["device"]).type == "cpu" if kwargs.get("device") is not None else False
        if to_host and args and isinstance(args[0], torch.Tensor) and args[0].device.type == "cuda":
            raise AssertionError(f"{function} copies to the host")
        return function(*args, **kwargs)


def fake_batch(device: torch.device, count: int = 4) -> Batch:
    images = torch.empty(count, 3, SIZES.resolution, SIZES.resolution, device=device)
    return Batch(images, torch.zeros(count, dtype=torch.long, device=device))


def faked(trainer: Any, precision: Precision) -> tuple[Step, FakeTensorMode]:
    """The step of a trainer that was built on the CPU, as the device of a precision would have it."""
    weights = torch.float16 if precision.mode == "fp16" else precision.weights  # also where the backward pass runs
    trainer.model.clip.cast(weights)
    teacher = getattr(trainer, "teacher", None) or getattr(getattr(trainer, "distillation", None), "teacher", None)
    if teacher is not None:
        if hasattr(teacher.encoder, "clip"):
            teacher.encoder.clip.cast(weights)
        else:
            teacher.encoder._precision = precision
    mode = FakeTensorMode(allow_non_fake_inputs=False)
    faker = Faker(mode, precision.device)
    names = {"model", "_learner", "reference", "distillation", "teacher"}
    for name in vars(trainer).keys() & (names | {"more_names", "crafted", "noise", "frozen", "sentences", "which"}):
        setattr(trainer, name, faker(getattr(trainer, name)))
    learned = [value for value in trainer.model.parameters() if value.requires_grad]
    metrics = accuracy if trainer.labelled else None
    with mode:
        optimizer = torch.optim.SGD(learned, 0.1)
        more = {"steering": trainer.steering, "choose": trainer.chosen_classes}
        return Step(trainer.learner, trainer.losses, optimizer, precision, metrics, **more), mode


def run(trainer: Any, precision: str, losses: Any = None) -> None:
    """Forward pass and losses on fake CUDA tensors, then with the backward pass where torch can run one.

    torch's autograd asks for a real card before it runs on CUDA, so that without one it runs on fake CPU tensors,
    which refuse to tell their values just the same.
    """
    for device in (CUDA, torch.device("cpu")):
        step, mode = faked(trainer, Precision(precision, device))
        step.losses = losses or step.losses
        with mode, NothingToTheHost():
            loss, numbers = step.compute(fake_batch(device))
            assert {value.device for value in (loss, *numbers.values())} == {device}
            if device.type == "cpu" or torch.cuda.is_available():
                loss.backward()
                if step.steering is not None:
                    step.gradients(fake_batch(device))
                assert all(value.grad is not None for value in step.optimizer.param_groups[0]["params"])


@pytest.mark.parametrize("precision", MODES)
@pytest.mark.parametrize(("case", "boosted"), PAIRS, ids=NAMES)
def test_a_step_stays_on_the_device(
    case: Case, boosted: bool, precision: str, clips: dict[str, str], tmp_path: Path
) -> None:
    trainer = build(case, boosted, clips, tmp_path)
    run(trainer, precision)
    learned = [value for value in trainer.model.parameters() if value.requires_grad]
    assert len(learned) == len(case.trained)
    assert all(value.grad.dtype == torch.float32 for value in learned)


@pytest.mark.parametrize("tail", ["shared", "released"])
@pytest.mark.parametrize(
    "case", [case for case in LEARNING if case.trainer.startswith("FDBPL_")], ids=lambda case: case.trainer
)
def test_other_labels_of_regions_stay_on_the_device(
    case: Case, tail: str, clips: dict[str, str], tmp_path: Path
) -> None:
    options = {"TOP_K": 2, "TAIL": tail, "PCD": "released", "WEIGHTS": "image"}
    more = {f"TRAINER__FDBPL__{key}": value for key, value in options.items()}
    run(build(case, False, clips, tmp_path, **more), "fp32")


@pytest.mark.parametrize("precision", MODES)
def test_phase_1_stays_on_the_device(precision: str, clips: dict[str, str], tmp_path: Path) -> None:
    settings = {"TRAINER__CASPL__TEACHER": clips["teacher"], "TRAINER__CASPL__BOOSTING_DIR": str(tmp_path)}
    trainer = make_trainer(make_cfg("CasPL", clips["student"], SIZES.resolution, **settings), CLASSES)
    trainer.start()
    run(trainer, precision)


def test_the_guard_sees_what_waits_and_what_mixes(clips: dict[str, str], tmp_path: Path) -> None:
    """Else the tests above could not fail."""

    def waits(output: Output, batch: Batch) -> Terms:
        return {"ce": output.logits.mean() * float(output.logits.sum() > 0)}

    def mixes(output: Output, batch: Batch) -> Terms:
        return {"ce": (output.logits * torch.ones(len(CLASSES))).mean()}

    def copies(output: Output, batch: Batch) -> Terms:
        return {"ce": output.logits.cpu().mean().to(output.logits.device)}

    wrong = (
        (waits, DataDependentOutputException, None),
        (mixes, RuntimeError, "device"),
        (copies, AssertionError, "copies to the host"),
    )
    for losses, error, words in wrong:
        trainer = build(CASES[2], False, clips, tmp_path)
        with pytest.raises(error, match=words):
            run(trainer, "fp32", losses)
