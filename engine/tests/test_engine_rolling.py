"""Rolling snapshots: an interrupted run ends with the same bits as an uninterrupted one."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rolling_run
import torch
from engine_toy import RollingTrainer, same, toy_cfg
from torch import nn

from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.engine.snapshot import load_random_state, random_state
from dassl.utils import set_random_seed


class Killed(BaseException):
    """Like a kill, nothing in the code handles it."""


class PartialNet(nn.Module):
    """Keeps a frozen part out of its own state."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen: torch.Tensor
        self.register_buffer("frozen", torch.randn(3))
        self.scale = nn.Parameter(torch.ones(3))

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return {"scale": self.scale.detach().clone()}

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        assert set(state_dict) == {"scale"}
        self.scale.data.copy_(state_dict["scale"])


@TRAINER_REGISTRY.register()
class NoisyTrainer(RollingTrainer):
    """Draws from every generator in each batch, has a partial model and state of its own."""

    def build_model(self) -> None:
        super().build_model()
        self.partial = PartialNet()
        self.partial_optim = torch.optim.Adam([self.partial.scale], lr=0.1)
        self.register_model("partial", self.partial, self.partial_optim)
        self.average = torch.zeros(3)

    def forward_backward(self, batch: Any) -> dict[str, float]:
        noise = random.random() + np.random.rand() + np.random.randn() + torch.rand(1).item()
        summary = super().forward_backward(batch)
        self.model_backward_and_update((self.partial.scale * self.partial.frozen).sum() * noise, "partial")
        self.average = 0.5 * self.average + self.partial.scale.detach()
        self.losses.append(noise)
        return summary

    def resume_state(self) -> dict[str, Any]:
        return {**super().resume_state(), "average": self.average}

    def load_resume_state(self, state: dict[str, Any]) -> None:
        super().load_resume_state(state)
        self.average = state["average"]


def run(images: Path, output: Path, opts: list[Any], kill_at: tuple[int, int] | None = None) -> Any:
    """Do what a command does, until it is killed, if it is."""
    cfg = toy_cfg(images, output, *opts)
    set_random_seed(cfg.SEED)
    trainer = build_trainer(cfg)
    step = trainer.forward_backward

    def forward_backward(batch: Any) -> Any:
        if (trainer.epoch, trainer.batch_idx) == kill_at:
            raise Killed
        return step(batch)

    trainer.forward_backward = forward_backward
    if kill_at is None:
        trainer.train()
    else:
        with pytest.raises(Killed):
            trainer.train()
    # What a method does afterwards sees the same random numbers, too.
    trainer.end = random_state()
    return trainer


def files(folder: str) -> dict[str, bytes]:
    """Return all files below a folder, but for event files."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file() and path.parent.name != "tensorboard"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@TRAINER_REGISTRY.register()
class WatchingTrainer(RollingTrainer):
    """Notes which images it sees, and what they look like."""

    def build_model(self) -> None:
        super().build_model()
        self.seen: list[list[tuple[int, float]]] = []

    def forward_backward(self, batch: Any) -> dict[str, float]:
        self.seen.append(list(zip(batch["index"].tolist(), batch["img"].sum(dim=(1, 2, 3)).tolist(), strict=True)))
        return super().forward_backward(batch)


VARIANTS: dict[str, list[Any]] = {
    "plain": ["TRAINER.NAME", "RollingTrainer"],
    "best_val": ["TRAINER.NAME", "RollingTrainer", "TEST.FINAL_MODEL", "best_val"],
    "checkpoints": ["TRAINER.NAME", "RollingTrainer", "TRAIN.CHECKPOINT_FREQ", 1],
    "noisy, adam": ["TRAINER.NAME", "NoisyTrainer", "OPTIM.NAME", "adam"],
    "tensors": ["TRAINER.NAME", "NoisyTrainer", "INPUT.BACKEND", "tensor", "TEST.FINAL_MODEL", "best_val"],
    "workers": ["TRAINER.NAME", "RollingTrainer", "DATALOADER.NUM_WORKERS", 1],
    "warmup": ["TRAINER.NAME", "NoisyTrainer", "OPTIM.WARMUP_EPOCH", 2, "TEST.FINAL_MODEL", "best_val"],
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_bits(images: Path, tmp_path: Path, variant: str) -> None:
    opts = ["OPTIM.MAX_EPOCH", 4, *VARIANTS[variant]]
    whole = run(images, tmp_path / "whole", opts)
    output = tmp_path / "killed"
    parts = [run(images, output, opts, kill_at) for kill_at in ((1, 3), (1, 2), (3, 4), None)]
    assert [part.start_epoch for part in parts] == [0, 1, 1, 3]
    last = parts[-1]
    # 5 batches an epoch, the noisy trainer notes two numbers each.
    per_epoch = len(whole.losses) // 4
    assert parts[0].losses[:per_epoch] == whole.losses[:per_epoch]
    assert parts[2].losses[: 2 * per_epoch] == whole.losses[per_epoch : 3 * per_epoch]
    assert last.losses == whole.losses[3 * per_epoch :]
    assert same(last.end, whole.end)
    assert last.best_result == whole.best_result
    assert same(last.optim.state_dict(), whole.optim.state_dict())
    assert same(last.sched.state_dict(), whole.sched.state_dict())
    if variant == "noisy, adam":
        assert torch.equal(last.average, whole.average)
        assert torch.equal(last.partial.scale, whole.partial.scale)
    found, expected = files(last.output_dir), files(whole.output_dir)
    assert sorted(found) == sorted(expected)
    assert found == expected
    assert "resume.pt" not in found


def test_tensors_continue_with_other_workers(images: Path, tmp_path: Path) -> None:
    opts = ["TRAINER.NAME", "WatchingTrainer", "INPUT.BACKEND", "tensor"]
    whole = run(images, tmp_path / "whole", opts)
    run(images, tmp_path / "killed", opts, kill_at=(1, 3))
    last = run(images, tmp_path / "killed", [*opts, "DATALOADER.NUM_WORKERS", 1])
    assert last.start_epoch == 1
    # 5 batches an epoch; each epoch has an order and crops of its own.
    epochs = [whole.seen[start : start + 5] for start in (0, 5, 10)]
    assert last.seen == epochs[1] + epochs[2]
    assert all(a != b for a, b in itertools.combinations(epochs, 2))
    crops = [{index: total for batch in epoch for index, total in batch} for epoch in epochs]
    assert all(a[index] != b[index] for a, b in itertools.combinations(crops, 2) for index in a)


def test_snapshot_is_plain_and_follows_every_epoch(images: Path, tmp_path: Path) -> None:
    opts = ["TRAINER.NAME", "NoisyTrainer", "OPTIM.WARMUP_EPOCH", 1]
    trainer = run(images, tmp_path, opts, kill_at=(2, 1))
    state = torch.load(tmp_path / "resume.pt", weights_only=True)
    assert list(state) == ["epoch", "best_result", "models", "optims", "scheds", "random", "average"]
    assert state["epoch"] == 2
    assert list(state["models"]) == ["prompt_learner", "partial"]
    assert list(state["models"]["partial"]) == ["scale"]
    assert list(state["random"]) == ["python", "numpy", "torch", "cuda"]
    assert state["scheds"]["partial"] is None
    assert sorted(os.listdir(trainer.output_dir)) == ["resume.pt", "tensorboard"]


def test_off_by_default(images: Path, tmp_path: Path) -> None:
    run(images, tmp_path, ["TRAINER.NAME", "RollingTrainer"], kill_at=(2, 1))
    before = (tmp_path / "resume.pt").read_bytes()
    plain = run(images, tmp_path, ["TRAINER.NAME", "ToyTrainer"])
    assert plain.start_epoch == 0
    assert (tmp_path / "resume.pt").read_bytes() == before


def test_checkpoints_serve_where_there_is_no_snapshot(images: Path, tmp_path: Path) -> None:
    opts = ["TRAINER.NAME", "RollingTrainer", "TRAIN.CHECKPOINT_FREQ", 1]
    run(images, tmp_path, opts, kill_at=(2, 0))
    os.remove(tmp_path / "resume.pt")
    trainer = run(images, tmp_path, opts)
    assert trainer.start_epoch == 2
    # After the end the run is complete, and only evaluated.
    assert run(images, tmp_path, opts).losses == []


def test_snapshot_goes_after_the_last_checkpoint(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    save_model = RollingTrainer.save_model

    def watch(self: Any, epoch: int, *args: Any, **kwargs: Any) -> None:
        seen.append((epoch, (tmp_path / "resume.pt").exists()))
        save_model(self, epoch, *args, **kwargs)
        seen.append((epoch, (tmp_path / "resume.pt").exists()))

    monkeypatch.setattr(RollingTrainer, "save_model", watch)
    run(images, tmp_path, ["TRAINER.NAME", "RollingTrainer"])
    assert seen == [(2, True), (2, True)]
    assert not (tmp_path / "resume.pt").exists()


def test_snapshot_of_other_models_is_refused(images: Path, tmp_path: Path) -> None:
    run(images, tmp_path, ["TRAINER.NAME", "NoisyTrainer"], kill_at=(2, 1))
    with pytest.raises(ValueError, match=r"resume\.pt holds models .*'partial'.* remove the file"):
        run(images, tmp_path, ["TRAINER.NAME", "RollingTrainer"])


@pytest.mark.parametrize(
    "draw",
    [
        random.random, lambda: random.gauss(0, 1), np.random.rand, np.random.randn,
        lambda: torch.rand(1).item(), lambda: torch.randn(16).sum().item(),
    ],
)  # fmt: skip
def test_generators(draw: Callable[[], float], tmp_path: Path) -> None:
    set_random_seed(11)
    draw()
    torch.save(random_state(), tmp_path / "state")
    expected = [draw() for _ in range(3)]
    set_random_seed(12)
    load_random_state(torch.load(tmp_path / "state", weights_only=True))
    assert [draw() for _ in range(3)] == expected


def test_killed_command(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "killed"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run(
        [sys.executable, rolling_run.__file__, str(images), str(output), "2", "3"],
        capture_output=True, text=True, check=False, timeout=120, env=environment,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (output / "resume.pt").exists()
    continued = run(images, output, rolling_run.OPTS)
    assert continued.start_epoch == 2
    whole = run(images, tmp_path / "whole", rolling_run.OPTS)
    assert continued.losses == whole.losses[10:]
    assert files(continued.output_dir) == files(whole.output_dir)
