"""What lies on disk after training, and how a run goes on from it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_toy import ToyTrainer
from torch import nn

from dassl.utils import load_checkpoint

WARMUP = ["OPTIM.WARMUP_EPOCH", 1, "OPTIM.WARMUP_TYPE", "constant"]


def learner(trainer: Any) -> Path:
    return Path(trainer.output_dir, "prompt_learner")


def test_layout(make_trainer: Any) -> None:
    trainer = make_trainer("TRAIN.CHECKPOINT_FREQ", 2, *WARMUP)
    trainer.train()
    assert sorted(os.listdir(trainer.output_dir)) == ["prompt_learner", "tensorboard"]
    assert sorted(os.listdir(learner(trainer))) == ["checkpoint", "model.pth.tar-2", "model.pth.tar-3"]
    assert (learner(trainer) / "checkpoint").read_text() == "model.pth.tar-3\n"
    state = torch.load(learner(trainer) / "model.pth.tar-3", weights_only=True)
    assert list(state) == ["state_dict", "epoch", "optimizer", "scheduler", "val_result"]
    assert (state["epoch"], state["val_result"]) == (3, None)
    assert list(state["state_dict"]) == ["fc.weight", "fc.bias"]
    assert torch.equal(state["state_dict"]["fc.weight"], trainer.model.fc.weight)
    assert isinstance(state["scheduler"]["successor"], dict)


@pytest.mark.parametrize("scheduler", ["single_step", "multi_step", "cosine"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "radam"])
def test_files_hold_plain_values(make_trainer: Any, optimizer: str, scheduler: str) -> None:
    trainer = make_trainer("OPTIM.NAME", optimizer, "OPTIM.LR_SCHEDULER", scheduler, "OPTIM.STEPSIZE", (1, 2), *WARMUP)
    trainer.save_model(0, trainer.output_dir)
    state = torch.load(learner(trainer) / "model.pth.tar-1", weights_only=True)
    assert state["epoch"] == 1


def test_best_is_saved_before_the_periodic(make_trainer: Any) -> None:
    trainer = make_trainer("TEST.FINAL_MODEL", "best_val", "TRAIN.CHECKPOINT_FREQ", 1, "OPTIM.MAX_EPOCH", 1)
    trainer.train()
    assert (learner(trainer) / "checkpoint").read_text() == "model.pth.tar-1\n"
    best = load_checkpoint(str(learner(trainer) / "model-best.pth.tar"))
    assert best["val_result"] == trainer.best_result
    # Without periodic checkpoints, the text file names the best one.
    other = make_trainer(
        "TEST.FINAL_MODEL", "best_val", "OPTIM.MAX_EPOCH", 2, output=Path(trainer.output_dir + "_other")
    )
    other.max_epoch = 3
    other.before_train()
    other.epoch = 0
    other.run_epoch()
    other.after_epoch()
    assert (learner(other) / "checkpoint").read_text() == "model-best.pth.tar\n"


class Interrupted(Exception):
    pass


def interrupt(trainer: Any, at: tuple[int, int]) -> None:
    """Break off in the given epoch and batch."""
    step = trainer.forward_backward

    def forward_backward(batch: Any) -> Any:
        if (trainer.epoch, trainer.batch_idx) == at:
            raise Interrupted
        return step(batch)

    trainer.forward_backward = forward_backward
    with pytest.raises(Interrupted):
        trainer.train()
    del trainer.forward_backward


@pytest.mark.parametrize("warmup", [[], WARMUP, ["OPTIM.WARMUP_EPOCH", 3], [*WARMUP, "OPTIM.WARMUP_RECOUNT", False]])
def test_resumed_rates_equal_the_uninterrupted(
    make_trainer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], warmup: list[Any]
) -> None:
    opts = ["TRAIN.CHECKPOINT_FREQ", 1, "OPTIM.MAX_EPOCH", 6, *warmup]
    whole = make_trainer(*opts, output=tmp_path / "whole")
    whole.train()
    first = make_trainer(*opts)
    interrupt(first, at=(2, 0))
    capsys.readouterr()
    second = make_trainer(*opts)
    second.train()
    out = capsys.readouterr().out
    assert f"Found checkpoint at {second.output_dir} (will resume training)" in out
    path = learner(second) / "model.pth.tar-2"
    assert (
        f'Loading checkpoint from "{path}"\nLoaded model weights\nLoaded optimizer\nLoaded scheduler\n'
        "Previous epoch: 2\n"
    ) in out
    assert second.start_epoch == 2
    assert first.rates + second.rates == whole.rates


def test_explicit_resume(make_trainer: Any, tmp_path: Path) -> None:
    first = make_trainer("TRAIN.CHECKPOINT_FREQ", 1, output=tmp_path / "first")
    interrupt(first, at=(1, 2))
    second = make_trainer("RESUME", str(tmp_path / "first"), output=tmp_path / "second")
    second.train()
    assert second.start_epoch == 1
    assert sorted(os.listdir(learner(second))) == ["checkpoint", "model.pth.tar-3"]


def test_finished_run_is_only_evaluated(make_trainer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    make_trainer().train()
    capsys.readouterr()
    again = make_trainer()
    again.train()
    assert again.losses == []
    out = capsys.readouterr().out
    assert "Finish training" in out
    assert "* accuracy: 25.0%" in out


def test_a_model_without_folder_starts_anew(make_trainer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    make_trainer().train()
    trainer = make_trainer()
    trainer.register_model("second", nn.Linear(1, 1))
    assert trainer.resume_model_if_exist(trainer.output_dir) == 0
    assert capsys.readouterr().out.endswith("No checkpoint found, train from scratch\n")
    os.remove(learner(trainer) / "checkpoint")
    del trainer._models["second"]
    assert trainer.resume_model_if_exist(trainer.output_dir) == 0  # killed before it had written the note


def test_load_model(make_trainer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    trained = make_trainer()
    trained.train()
    fresh = make_trainer()
    capsys.readouterr()
    fresh.load_model("")
    assert "load_model() is skipped" in capsys.readouterr().out
    fresh.load_model(trained.output_dir, epoch=3)
    path = learner(trained) / "model.pth.tar-3"
    assert capsys.readouterr().out == f"Load {path} to prompt_learner (epoch=3, val_result=none)\n"
    assert torch.equal(fresh.model.fc.weight, trained.model.fc.weight)
    with pytest.raises(FileNotFoundError, match=r"No model at .*prompt_learner/model-best\.pth\.tar"):
        fresh.load_model(trained.output_dir)
    trained.save_model(2, trained.output_dir, val_result=61.26, model_name="model-best.pth.tar")
    fresh.load_model(trained.output_dir)
    assert capsys.readouterr().out.endswith("(epoch=3, val_result=61.3)\n")
    fresh.model.fc = nn.Linear(3, 4, bias=False)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*fc\.bias"):
        fresh.load_model(trained.output_dir)


class FieldTrainer(ToyTrainer):
    """With the load_model that the repositories of the field override."""

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        names = self.get_model_names()
        model_file = "model-best.pth.tar"
        if epoch is not None:
            model_file = "model.pth.tar-" + str(epoch)
        for name in names:
            model_path = os.path.join(directory, name, model_file)
            checkpoint = load_checkpoint(model_path)
            state_dict = checkpoint["state_dict"]
            if "fc.bias" in state_dict:
                del state_dict["fc.bias"]
            print(f'Loading weights to {name} from "{model_path}" (epoch = {checkpoint["epoch"]})')
            self._models[name].load_state_dict(state_dict, strict=False)


def test_overridden_load_model(make_trainer: Any, make_cfg: Any) -> None:
    trained = make_trainer("TEST.FINAL_MODEL", "best_val")
    trained.train()
    fresh = FieldTrainer(make_cfg())
    bias = fresh.model.fc.bias.clone()
    fresh.load_model(trained.output_dir)
    assert torch.equal(fresh.model.fc.weight, trained.model.fc.weight)
    assert torch.equal(fresh.model.fc.bias, bias)
