"""Numbers of batches: reported as if each were read at once, though they come over a few times an epoch only."""

from __future__ import annotations

import re
import sys
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from engine_toy import ToyTrainer
from test_engine_after_training import Recorder
from torch import Tensor

from dassl.engine import progress as progress_module
from dassl.engine.pending import hold, to_host

BATCHES = 5


class Numbers(ToyTrainer):
    """Reports what it is told to, and moves its learning rate in every batch."""

    summaries: Any

    def forward_backward(self, batch: Any) -> Any:
        self.optim.param_groups[0]["lr"] = 0.1 * self.epoch + 0.01 * self.batch_idx
        self.given = self.summaries(self.epoch * BATCHES + self.batch_idx)
        return self.given

    def numbers_arrived(self, numbers: Any) -> None:
        self.__dict__.setdefault("arrived", []).append(numbers)


@pytest.fixture
def run(make_cfg: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs two epochs; returns the trainer, its lines and its curves."""

    def run(summaries: Any, frequency: int) -> tuple[Any, list[str], Any]:
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Recorder))
        trainer = Numbers(make_cfg("TRAIN.PRINT_FREQ", frequency, "OPTIM.MAX_EPOCH", 2, "TEST.NO_TEST", True))
        trainer.save_model = lambda *args, **kwargs: None  # type: ignore[method-assign]
        trainer.summaries = summaries
        trainer.train_loader_x = [{}] * BATCHES
        trainer.train()
        out = capsys.readouterr().out
        lines = [re.sub(r" time .* data \S+ \(\S+\)| eta .*", "", line) for line in out.splitlines()]
        return trainer, [line for line in lines if line.startswith("epoch")], trainer._writer.scalars

    return run


@pytest.fixture
def transfers(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what brings numbers of tensors to the host."""
    counts: Counter[str] = Counter()

    def counted(name: str) -> Any:
        method = getattr(Tensor, name)

        def call(self: Tensor, *args: Any) -> Any:
            counts[name] += 1
            return method(self, *args)

        return call

    for name in ("item", "tolist", "__float__", "__int__", "__bool__", "cpu", "numpy"):
        monkeypatch.setattr(Tensor, name, counted(name))
    return counts


def numbers_of(step: int) -> dict[str, float]:
    # Thirds, which 32 bits round.
    return {"loss": float(np.float32(1 / (step + 3))), "acc": 10.0 * step, "hits": step}


def tensors_of(step: int) -> dict[str, Tensor]:
    kinds = {"loss": torch.float32, "acc": torch.float32, "hits": torch.int64}
    return {name: torch.tensor(value, dtype=kinds[name]) for name, value in numbers_of(step).items()}


SUMMARIES: dict[str, Any] = {
    "tensors": tensors_of,
    "one element": lambda step: {name: value.reshape(1) for name, value in tensors_of(step).items()},
    "gradients": lambda step: {
        name: value.requires_grad_(value.is_floating_point()) for name, value in tensors_of(step).items()
    },
    "mixed": lambda step: {**numbers_of(step), "acc": tensors_of(step)["acc"]},
    "numpy": lambda step: {name: np.asarray(value) for name, value in tensors_of(step).items()},
}


@pytest.mark.parametrize("frequency", [1, 2, 3, 5, 6, 0])
@pytest.mark.parametrize("kind", SUMMARIES)
def test_reports_are_those_of_numbers(run: Any, kind: str, frequency: int) -> None:
    _, lines, curves = run(numbers_of, frequency)
    _, other_lines, other_curves = run(SUMMARIES[kind], frequency)
    assert other_lines == lines
    assert other_curves == curves
    # By hand: averages of an epoch, each with the rate of its step.
    means = [0, 5, 10, 15, 20, 50, 55, 60, 65, 70]
    assert curves["train/acc"] == [(pytest.approx(mean), step) for step, mean in enumerate(means)]
    rates = [0.1 * epoch + 0.01 * batch for epoch in range(2) for batch in range(5)]
    assert curves["train/lr"] == [(pytest.approx(rate), step) for step, rate in enumerate(rates)]
    if frequency == 2:
        numbers = "loss 0.1111 (0.1181) acc 60.0000 (55.0000) hits 6.0000 (5.5000)"
        assert lines[2] == f"epoch [2/2] batch [2/5] {numbers} lr 1.1000e-01"


# 5 batches an epoch: a line is due after each, after the second and fourth, after the fifth, after each, never.
@pytest.mark.parametrize(
    ("frequency", "arrivals"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (6, [1] * 5), (0, [5]), (-1, [5])]
)
def test_transfers(run: Any, transfers: Counter[str], frequency: int, arrivals: list[int]) -> None:
    def summaries(step: int) -> Any:
        return {name: value for name, value in tensors_of(step).items() if name != "hits"}

    trainer, _, _ = run(lambda step: None, frequency)
    without = transfers.copy()
    transfers.clear()
    trainer, _, _ = run(summaries, frequency)
    assert [len(numbers) for numbers in trainer.arrived] == arrivals * 2
    assert transfers - without == {"tolist": 2 * len(arrivals)}
    flat = [pair for numbers in trainer.arrived for pair in numbers]
    assert flat == [
        (step % 5, {"loss": numbers_of(step)["loss"], "acc": numbers_of(step)["acc"]}) for step in range(10)
    ]
    assert {type(value) for _, numbers in flat for value in numbers.values()} == {float}


def test_one_transfer_for_each_type(run: Any, transfers: Counter[str]) -> None:
    run(lambda step: None, 5)
    without = transfers.copy()
    transfers.clear()
    run(tensors_of, 5)
    assert transfers - without == {"tolist": 4}


def test_what_is_overwritten_later_is_reported_as_it_was(run: Any) -> None:
    loss, row = torch.zeros(()), {"loss": torch.zeros(())}

    def in_place(step: int) -> Any:
        loss.fill_(step)
        return {"loss": loss}

    def same_dictionary(step: int) -> Any:
        row["loss"] = torch.tensor(float(step))
        return row

    expected = run(lambda step: {"loss": float(step)}, 5)[1:]
    assert run(in_place, 5)[1:] == expected
    assert run(same_dictionary, 5)[1:] == expected


def test_a_learning_rate_on_the_device(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run(numbers_of, 5)[1:]
    rate = torch.zeros((), dtype=torch.float64)
    monkeypatch.setattr(Numbers, "get_current_lr", lambda self: rate.fill_(self.optim.param_groups[0]["lr"]))
    assert run(numbers_of, 5)[1:] == expected


def test_batches_without_numbers(run: Any) -> None:
    trainer, _, curves = run(lambda step: {"loss": torch.tensor(float(step))} if step % 5 in (1, 3) else None, 5)
    assert trainer.arrived[0] == [(0, {}), (1, {"loss": 1.0}), (2, {}), (3, {"loss": 3.0}), (4, {})]
    assert curves["train/loss"][:4] == [(1.0, 1), (1.0, 2), (2.0, 3), (2.0, 4)]
    assert len(curves["train/lr"]) == 10


def test_refusals_come_with_the_batch(run: Any) -> None:
    for summary, error in (([1.0], TypeError), ({"loss": torch.ones(2)}, RuntimeError)):
        seen: list[int] = []

        def summaries(step: int, seen: list[int] = seen, summary: Any = summary) -> Any:
            seen.append(step)
            return summary

        with pytest.raises(error):
            run(summaries, 0)
        assert seen == [0]


class ShortLoader:
    """Gives fewer batches than its length says, as the class sampler may make a loader do."""

    def __len__(self) -> int:
        return BATCHES + 2

    def __iter__(self) -> Any:
        return iter([{}] * BATCHES)


def test_nothing_is_lost_where_the_length_is_an_estimate(make_cfg: Any) -> None:
    trainer = Numbers(make_cfg("TRAIN.PRINT_FREQ", 4))
    trainer.summaries = tensors_of
    trainer.train_loader_x = ShortLoader()
    written = []
    trainer.write_scalar = lambda tag, value, step=None: written.append((tag, step))  # type: ignore[method-assign]
    trainer.run_epoch()
    assert [[index for index, _ in numbers] for numbers in trainer.arrived] == [[0, 1, 2, 3], [4]]
    assert [step for tag, step in written if tag == "train/loss"] == list(range(BATCHES))


def test_the_last_batch_brings_its_numbers(make_cfg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress_module.time, "time", lambda: clock[0])
    trainer = Numbers(make_cfg("TRAIN.PRINT_FREQ", 0))
    progress = progress_module.EpochProgress(trainer, 2)

    def wait(numbers: Any) -> None:
        assert len(numbers) == 2
        clock[0] += 7

    trainer.numbers_arrived = wait  # type: ignore[method-assign]
    for batch_idx in range(2):
        clock[0] += 1
        progress.batch_done(batch_idx, {"loss": torch.tensor(2.0)})
    # Waiting for the device is time that batches take.
    assert progress.batch_time.sum == 9
    assert progress.losses.meters["loss"].count == 2


def test_the_hook_comes_before_the_report(run: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def refuse(self: Any, numbers: Any) -> None:
        raise FloatingPointError(f"batch {numbers[0][0] + 1}")

    monkeypatch.setattr(Numbers, "numbers_arrived", refuse)
    with pytest.raises(FloatingPointError, match="batch 1"):
        run(tensors_of, 2)
    assert "batch [" not in capsys.readouterr().out


def test_to_host() -> None:
    half = torch.tensor(1.5, dtype=torch.bfloat16)
    rows = [{"a": half, "b": 2}, {}, {"b": torch.tensor(True), "a": torch.tensor(3), "c": torch.tensor(float("nan"))}]
    arrived = to_host(rows)
    assert str(arrived) == "[{'a': 1.5, 'b': 2}, {}, {'b': True, 'a': 3, 'c': nan}]"
    assert rows[0]["a"] is half
    assert hold("word") == "word"
    assert hold(torch.ones(1, 1)).shape == ()
    # The graph behind a loss is not kept alive.
    assert not hold(torch.ones((), requires_grad=True) * 2).requires_grad
