"""Steps and tests that are recorded and repeated give what they give step by step, or are not recorded."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from caspl.step import MODES, Batch, Precision, Step, accuracy
from caspl.step.graph import WARM, CudaRecorder, Recorded
from tests.cases import AGNOSTIC, CASES, GUARDED, Case
from tests.conftest import CLASSES
from tests.device import DEVICE
from tests.step.tape import TapeRecorder
from tests.stubs import make_cfg, make_trainer
from tests.tiny_clip import SIZES
from tests.trainers.building import batch, build

LEARNING = [case for case in CASES if case.trained] + [*GUARDED]
PAIRS = [(case, boosted) for case in LEARNING for boosted in (False, True)]
NAMES = [f"{'CasPL_' if boosted else ''}{case.trainer}{' agnostic' * (case in AGNOSTIC)}" for case, boosted in PAIRS]
STEPS = WARM + 5
on_a_cpu = pytest.mark.skipif(DEVICE.type != "cpu", reason="emulated on a CPU")


def trained(
    trainer: Any, recorder: Any, counts: Sequence[int] = (4,) * STEPS
) -> tuple[list[dict[str, float]], list[Tensor], Step]:
    """Numbers of some steps, the tokens after them, and the step."""
    step = trainer.step
    more = {"steering": step.steering, "choose": step.choose, "clip_norm": step.clip_norm}
    made = Step(step.model, trainer.losses, step.optimizer, step.precision, step.metrics, recorder, **more)
    made.begin_epoch()
    told = []
    for number, count in enumerate(counts):
        if number == WARM + 3:
            made.begin_epoch()
        trainer.epoch, trainer.batch_idx = 0, number
        trainer.draw()
        told.append(made(Batch.of(batch(number, count), DEVICE)))
    tokens = [value.detach().clone() for value in made.learned]
    return [{name: value.item() for name, value in numbers.items()} for numbers in told], tokens, made


def same(first: Any, second: Any) -> bool:
    return first[0] == second[0] and all(torch.equal(a, b) for a, b in zip(first[1], second[1], strict=True))


@on_a_cpu
@pytest.mark.parametrize(("case", "boosted"), PAIRS, ids=NAMES)
def test_recorded_steps_are_those_of_every_trainer(
    case: Case, boosted: bool, clips: dict[str, str], tmp_path: Path
) -> None:
    """Bit for bit, also in a batch of another size and over the beginning of an epoch."""
    counts = [4] * STEPS
    counts[-2] = 3
    recorder = TapeRecorder()
    plain = trained(build(case, boosted, clips, tmp_path / "a"), None, counts)
    recorded = trained(build(case, boosted, clips, tmp_path / "b"), recorder, counts)
    assert same(plain, recorded)
    assert recorder.recorded == 1
    assert recorded[2]._recorded is not None
    assert recorded[2]._recorded.trusted


@on_a_cpu
def test_phase_1_too(clips: dict[str, str], tmp_path: Path) -> None:
    settings = {"TRAINER__CASPL__TEACHER": clips["teacher"], "TRAINER__CASPL__BOOSTING_DIR": str(tmp_path)}
    found = []
    for recorder in (None, TapeRecorder()):
        torch.manual_seed(1)
        trainer = make_trainer(make_cfg("CasPL", clips["student"], SIZES.resolution, **settings), CLASSES)
        trainer.start()
        found.append(trained(trainer, recorder))
    assert same(*found)
    assert found[1][2]._recorded.trusted


def work_of(recorder: Any, work: Any, **more: Any) -> tuple[Recorded, list[Tensor]]:
    """Work that was called with 0, 1, 2, ..., and what it gave."""
    recorded = Recorded(work, recorder, "it", **more)
    return recorded, [recorded(torch.full((2,), float(number)))[0].clone() for number in range(STEPS)]


def test_what_python_has_decided_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    """A number of Python's would be the same in every repetition."""
    caplog.set_level(logging.INFO)
    calls: list[int] = []

    def work(value: Tensor) -> list[Tensor]:
        calls.append(len(calls))
        return [value + 10 * calls[-1]]

    recorded, made = work_of(TapeRecorder(), work)
    assert [float(value[0]) for value in made[:WARM]] == [0, 11, 22]
    assert "depends on more than its images and labels" in recorded.reason
    assert all(value[0] > number for number, value in enumerate(made[WARM:]))
    assert [line for line in caplog.messages if line.startswith("it is not recorded: a repetition is off by")]


@pytest.mark.parametrize(
    ("work", "waits", "reason"),
    [
        (lambda value: [value * float(value.sum() > 1)], "", "it cannot be recorded: operation not permitted"),
        (lambda value: [value + torch.rand(2)], "", "it draws random numbers on the host"),
        (lambda value: [value + random.random()], "", "it draws random numbers on the host"),
        (lambda value: [value + 1], "called a synchronizing CUDA operation", "it waits for the device (called a sync"),
    ],
)
def test_what_is_not_recorded_is_done_as_it_is(work: Any, waits: str, reason: str) -> None:
    recorder = TapeRecorder(waits)
    recorded, made = work_of(recorder, work)
    assert recorded.reason.startswith(reason)
    assert len(made) == STEPS
    assert not any(value.isnan().any() for value in made)


def test_the_devices_own_random_numbers_are_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the comparison draws the same twice."""
    monkeypatch.setattr("caspl.step.graph._host_random", lambda: ())
    torch.manual_seed(5)
    recorded, made = work_of(TapeRecorder(), lambda value: [value + torch.rand(2)])
    assert recorded.trusted
    drawn = [value - number for number, value in enumerate(made)]
    assert len({tuple(value.tolist()) for value in drawn}) == STEPS


def test_what_is_changed_in_place_is_changed_once_a_call() -> None:
    count = torch.zeros(())

    def work(value: Tensor) -> list[Tensor]:
        count.add_(1)
        return [value * 2]

    recorded, made = work_of(TapeRecorder(), work, state=[count])
    assert recorded.trusted
    assert float(count) == STEPS
    assert [float(value[0]) for value in made] == [2.0 * number for number in range(STEPS)]


@on_a_cpu
def test_numbers_stay_what_they_were(clips: dict[str, str], tmp_path: Path) -> None:
    """They are read when they are printed, after other steps."""
    trainer = build(CASES[2], False, clips, tmp_path)
    step = Step(trainer.model, trainer.losses, trainer.optim, trainer.precision, accuracy, TapeRecorder())
    told, noted = [], []
    for number in range(STEPS):
        told.append(step(Batch.of(batch(number), DEVICE)))
        noted.append(float(told[-1]["loss"]))
    assert [float(numbers["loss"]) for numbers in told] == noted
    assert len(set(noted)) == STEPS


@on_a_cpu
def test_a_test_is_recorded_and_says_the_same(
    clips: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = build(CASES[2], False, clips, tmp_path)
    trainer.test_loader = [batch(number, 4 if number < 2 * STEPS else 3) for number in range(2 * STEPS + 1)]
    plain = trainer.test()
    recorder = TapeRecorder()
    monkeypatch.setattr(trainer, "recorder_of_work", lambda: recorder)
    assert trainer.test() == plain
    assert recorder.recorded == 1
    assert trainer._recorded is None


def test_nothing_is_recorded_on_a_cpu_or_where_it_is_off(clips: dict[str, str], tmp_path: Path) -> None:
    trainer = build(CASES[2], False, clips, tmp_path, TRAIN__GRAPH="off")
    assert trainer.recorder_of_work() is None
    trainer.device = torch.device("cuda")
    assert trainer.recorder_of_work() is None


@pytest.mark.skipif(DEVICE.type != "cuda", reason="needs CASPL_TEST_DEVICE=cuda")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("case", "boosted"), PAIRS, ids=NAMES)
def test_on_a_gpu(case: Case, boosted: bool, mode: str, clips: dict[str, str], tmp_path: Path) -> None:
    """Graph beside eager: the same in float32 with deterministic kernels, else within the precision's noise."""
    device = torch.device("cuda")
    found = []
    for recorder in (None, CudaRecorder(device)):
        trainer = build(case, boosted, clips, tmp_path / str(recorder is None), mode)
        precision = Precision(mode, device)
        own, more = trainer.step, {"steering": trainer.step.steering, "choose": trainer.step.choose}
        step = Step(own.model, trainer.losses, trainer.optim, precision, own.metrics, recorder, **more)
        step.begin_epoch()
        told = [step(Batch.of(batch(number), device)) for number in range(STEPS)]
        found.append([float(numbers["loss"]) for numbers in told])
        if recorder is not None:
            assert step._recorded is not None
            assert step._recorded.trusted, step._recorded.reason
    assert found[0] == pytest.approx(found[1], rel=1e-4 if mode == "fp32" else 0.1)


class Cramped(TapeRecorder):
    """A device whose memory a recording fills."""

    def release(self) -> None:
        self.waits = "released"


def test_where_a_recording_leaves_no_memory_it_is_given_up() -> None:
    recorder, count, calls = Cramped(), torch.zeros(()), []

    def work(value: Tensor) -> list[Tensor]:
        calls.append(len(calls))
        count.add_(1)
        if len(calls) == WARM + 2 and recorder.recorded:
            raise torch.OutOfMemoryError("beside the recording")
        return [value * 2]

    recorded, made = work_of(recorder, work, state=[count])
    assert recorded.reason.startswith("there is no memory for it")
    assert recorder.waits == "released"
    assert float(count) == STEPS
    assert [float(value[0]) for value in made] == [2.0 * number for number in range(STEPS)]


def test_numbers_that_are_not_finite_say_nothing_of_a_recording() -> None:
    """It is compared again, with other inputs."""
    recorded, made = work_of(TapeRecorder(), lambda value: [value / (value - WARM - 1)])
    assert recorded.doubtful == 1
    assert recorded.trusted
    assert made[-1].isfinite().all()


def test_what_gives_other_tensors_each_time_is_not_trusted() -> None:
    calls: list[int] = []

    def work(value: Tensor) -> list[Tensor]:
        calls.append(0)
        return [value] * (1 + len(calls) % 3)

    recorded, _ = work_of(TapeRecorder(), work)
    assert "off by inf" in recorded.reason


def test_an_odd_batch_with_other_terms_leaves_the_recording_as_it_is(clips: dict[str, str], tmp_path: Path) -> None:
    """Names and gradients of a repetition are those that were recorded."""
    trainer = build(CASES[2], False, clips, tmp_path)

    def losses(output: Any, batch: Batch) -> dict[str, Tensor]:
        more = {"more": output.logits.mean() * 0} if len(batch.labels) == 3 else {}
        return {"ce": torch.nn.functional.cross_entropy(output.logits, batch.labels), **more}

    step = Step(trainer.model, losses, trainer.optim, trainer.precision, accuracy, TapeRecorder())
    told = [step(Batch.of(batch(number, 3 if number == STEPS - 2 else 4), DEVICE)) for number in range(STEPS)]
    assert list(told[-2]) == ["loss", "acc", "ce", "more"]
    assert list(told[-1]) == ["loss", "acc"]
    assert step._recorded is not None
    assert step._recorded.trusted
