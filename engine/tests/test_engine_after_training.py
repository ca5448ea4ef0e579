"""The end of training, and event files."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch


class Recorder:
    """Stands in for a SummaryWriter."""

    def __init__(self, log_dir: str) -> None:
        self.log_dir = log_dir
        self.scalars: dict[str, list[tuple[float, int]]] = {}
        self.closed = 0

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.scalars.setdefault(tag, []).append((value, step))

    def close(self) -> None:
        self.closed += 1


def test_event_files(make_trainer: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Recorder))
    trainer = make_trainer("TEST.FINAL_MODEL", "best_val", "TEST.PER_CLASS_RESULT", True)
    trainer.train()
    writer = trainer._writer
    assert f"Initialize tensorboard (log_dir={trainer.output_dir}/tensorboard)\n" in capsys.readouterr().out
    assert (writer.log_dir, writer.closed) == (f"{trainer.output_dir}/tensorboard", 1)
    metrics = ["accuracy", "error_rate", "macro_f1", "perclass_accuracy"]
    tags = [f"{split}/{metric}" for split in ("test", "val") for metric in metrics]
    assert sorted(writer.scalars) == [*tags[:4], "train/acc", "train/loss", "train/lr", *tags[4:]]
    assert [step for _, step in writer.scalars["train/loss"]] == list(range(15))
    means = [sum(trainer.losses[5:end]) / (end - 5) for end in range(6, 11)]
    assert [value for value, _ in writer.scalars["train/loss"][5:10]] == pytest.approx(means)
    assert [step for _, step in writer.scalars["val/accuracy"]] == [0, 1, 2]
    assert [step for _, step in writer.scalars["test/accuracy"]] == [2]


def test_without_tensorboard(
    make_trainer: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    trainer = make_trainer("OPTIM.MAX_EPOCH", 1)
    trainer.train()
    assert "pip install tensorboard" in capsys.readouterr().out
    assert Path(trainer.output_dir, "tensorboard").is_dir()


def after_training(out: str) -> list[str]:
    lines = out.splitlines()
    return lines[lines.index("Finish training") :]


def test_end_of_training(make_trainer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = make_trainer()
    trainer.train()
    lines = after_training(capsys.readouterr().out)
    assert lines[:5] == [
        "Finish training", "Finished training", "Deploy the last-epoch model", "Evaluate on the *test* set",
        "=> result",
    ]  # fmt: skip
    assert re.fullmatch(r"Elapsed: 0:00:\d\d", lines[-1])
    assert not trainer.model.training


def test_end_of_training_without_test(make_trainer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    make_trainer("TEST.NO_TEST", True, "TEST.FINAL_MODEL", "best_val").train()
    out = capsys.readouterr().out
    assert len(after_training(out)) == 3
    assert "Evaluate" not in out


def test_best_model_is_deployed(make_trainer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = make_trainer("TEST.FINAL_MODEL", "best_val")
    results = iter([50.0, 60.0, 60.0])
    evaluate = trainer.test
    weights = []

    def test(split: Any = None) -> float:
        if split == "val":
            weights.append(trainer.model.fc.weight.clone())
            return next(results)
        return evaluate(split)

    trainer.test = test
    trainer.train()
    lines = after_training(capsys.readouterr().out)
    assert lines[2] == "Deploy the model with the best val performance"
    best = f"{trainer.output_dir}/prompt_learner/model-best.pth.tar"
    assert lines[3] == f"Load {best} to prompt_learner (epoch=2, val_result=60.0)"
    # Equal is not better: the second epoch stays the best.
    assert trainer.best_result == 60.0
    assert torch.equal(trainer.model.fc.weight, weights[1])
    assert not torch.equal(weights[1], weights[2])
