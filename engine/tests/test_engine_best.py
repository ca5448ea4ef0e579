"""The best model by validation: what chooses it, and how a run that goes on keeps it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dassl.engine import best as best_module
from dassl.utils import load_checkpoint, save_checkpoint

BEST = ["TEST.FINAL_MODEL", "best_val"]


class Interrupted(Exception):
    pass


def scripted(trainer: Any, results: list[float], stop_at: int = -1) -> Any:
    """Let validation give these results, and the first batch of an epoch break off."""
    evaluate, step, left = trainer.test, trainer.forward_backward, iter(results)

    def forward_backward(batch: Any) -> Any:
        if trainer.epoch == stop_at:
            raise Interrupted
        return step(batch)

    trainer.test = lambda split=None: next(left) if split == "val" else evaluate(split)
    trainer.forward_backward = forward_backward
    if stop_at < 0:
        trainer.train()
    else:
        with pytest.raises(Interrupted):
            trainer.train()
    return trainer


def best_of(folder: Path, name: str = "prompt_learner") -> Any:
    return load_checkpoint(str(folder / name / "model-best.pth.tar"))


def test_test_images_do_not_choose(make_trainer: Any) -> None:
    trainer = make_trainer(*BEST)
    trainer.val_loader = None
    with pytest.raises(
        ValueError, match=r"FINAL_MODEL best_val .* ToyData has none.*: set TEST\.FINAL_MODEL last_step"
    ):
        trainer.train()
    assert trainer.losses == []
    assert not Path(trainer.output_dir).exists()


@pytest.mark.parametrize("opts", [[], [*BEST, "TEST.NO_TEST", True]])
def test_runs_that_choose_nothing_need_no_validation_images(make_trainer: Any, opts: list[Any]) -> None:
    trainer = make_trainer("OPTIM.MAX_EPOCH", 1, *opts)
    trainer.val_loader = None
    trainer.train()
    assert len(trainer.losses) == 5


@pytest.mark.parametrize("kind", ["ToyTrainer", "RollingTrainer"])
@pytest.mark.parametrize("later", [[40.0], [70.0]])
def test_a_run_from_another_folder_brings_the_best_along(
    make_trainer: Any, tmp_path: Path, kind: str, later: list[float]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    opts = [*BEST, "TRAINER.NAME", kind, "TRAIN.CHECKPOINT_FREQ", 1]
    scripted(make_trainer(*opts, output=first), [60.0, 50.0], stop_at=2)
    trainer = scripted(make_trainer(*opts, "RESUME", str(first), output=second), later)
    assert trainer.start_epoch == 2
    found = best_of(second)
    assert (found["val_result"], found["epoch"]) == ((60.0, 1) if later == [40.0] else (70.0, 3))
    assert trainer.best_result == max(60.0, *later)
    # What was evaluated in the end is the best.
    assert torch.equal(trainer.model.fc.weight, found["state_dict"]["fc.weight"])
    assert best_of(first)["val_result"] == 60.0


def test_no_epoch_left(make_trainer: Any, tmp_path: Path) -> None:
    scripted(make_trainer(*BEST, output=tmp_path / "first"), [50.0, 60.0, 55.0])
    trainer = scripted(make_trainer(*BEST, "RESUME", str(tmp_path / "first"), output=tmp_path / "second"), [])
    assert torch.equal(trainer.model.fc.weight, best_of(tmp_path / "first")["state_dict"]["fc.weight"])


def test_checkpoints_remember_the_best_result(make_trainer: Any, tmp_path: Path) -> None:
    opts = [*BEST, "TRAIN.CHECKPOINT_FREQ", 1]
    scripted(make_trainer(*opts), [60.0, 50.0], stop_at=2)
    trainer = scripted(make_trainer(*opts), [55.0])
    assert (trainer.start_epoch, trainer.best_result) == (2, 60.0)
    assert best_of(tmp_path / "run")["epoch"] == 1


@pytest.mark.parametrize("noted", [False, True])
def test_a_best_model_without_result(make_trainer: Any, tmp_path: Path, noted: bool) -> None:
    opts = [*BEST, "TRAIN.CHECKPOINT_FREQ", 1]
    scripted(make_trainer(*opts), [60.0], stop_at=1)
    path = tmp_path / "run" / "prompt_learner" / "model-best.pth.tar"
    if noted:
        torch.save({**torch.load(path), "val_result": None}, path)
    else:
        os.remove(path)
    trainer = scripted(make_trainer(*opts), [10.0, 5.0])
    assert trainer.best_result == 10.0
    assert best_of(tmp_path / "run")["val_result"] == 10.0


def test_a_run_that_takes_the_last_model_copies_nothing(make_trainer: Any, tmp_path: Path) -> None:
    scripted(make_trainer(*BEST, "TRAIN.CHECKPOINT_FREQ", 1, output=tmp_path / "first"), [60.0], stop_at=1)
    make_trainer("RESUME", str(tmp_path / "first"), output=tmp_path / "second").train()
    assert sorted(os.listdir(tmp_path / "second" / "prompt_learner")) == ["checkpoint", "model.pth.tar-3"]


def test_a_kill_before_the_first_own_file(make_trainer: Any, tmp_path: Path) -> None:
    opts = [*BEST, "TRAIN.CHECKPOINT_FREQ", 1]
    scripted(make_trainer(*opts, output=tmp_path / "first"), [60.0, 50.0], stop_at=2)
    scripted(make_trainer(*opts, "RESUME", str(tmp_path / "first"), output=tmp_path / "second"), [], stop_at=2)
    # Without RESUME the folder goes on from the one model that it has.
    trainer = scripted(make_trainer(*opts, output=tmp_path / "second"), [1.0, 2.0])
    assert (trainer.start_epoch, trainer.best_result) == (1, 60.0)


def test_models_belong_together(tmp_path: Path) -> None:
    names = ["a", "b"]
    state = {"state_dict": nn.Linear(1, 1).state_dict(), "epoch": 1}
    source, target = str(tmp_path / "source"), str(tmp_path / "target")
    save_checkpoint({**state, "val_result": 60.0}, f"{source}/a", model_name="model-best.pth.tar")
    assert best_module.read_best_result(source, names) is None
    best_module.bring_best(source, target, names)
    assert not Path(target).exists()
    save_checkpoint({**state, "val_result": 50.0}, f"{source}/b", model_name="model-best.pth.tar")
    assert best_module.read_best_result(source, names) == 50.0
    # Its own file of the same name stays.
    Path(target, "b").mkdir(parents=True)
    Path(target, "b", "checkpoint").write_text("model.pth.tar-9\n")
    best_module.bring_best(source, target, names)
    assert [best_of(Path(target), name)["val_result"] for name in names] == [60.0, 50.0]
    assert Path(target, "a", "checkpoint").read_text() == "model-best.pth.tar\n"
    assert Path(target, "b", "checkpoint").read_text() == "model.pth.tar-9\n"


def test_the_same_folder_is_left_alone(make_trainer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opts = [*BEST, "TRAIN.CHECKPOINT_FREQ", 1]
    scripted(make_trainer(*opts), [60.0], stop_at=1)
    (tmp_path / "link").symlink_to(tmp_path / "run")
    monkeypatch.setattr(best_module, "copy_whole", lambda *paths: pytest.fail("copied"))
    trainer = scripted(make_trainer(*opts, "RESUME", str(tmp_path / "link")), [70.0, 1.0])
    assert trainer.best_result == 70.0


@pytest.mark.parametrize("broken", ["resume.pt", "prompt_learner/model.pth.tar-1", "prompt_learner/model-best.pth.tar"])
def test_one_method_reads_the_earlier_run(make_trainer: Any, tmp_path: Path, broken: str) -> None:
    opts = [*BEST, "TRAIN.CHECKPOINT_FREQ", 1, "TRAINER.NAME", "RollingTrainer"]
    scripted(make_trainer(*opts, output=tmp_path / "first"), [60.0], stop_at=1)
    if broken != "resume.pt":
        os.remove(tmp_path / "first" / "resume.pt")
    (tmp_path / "first" / broken).write_bytes(b"PK\x03\x04 half a file")
    trainer = make_trainer(*opts, "RESUME", str(tmp_path / "first"), output=tmp_path / "second")
    resume = trainer.resume

    def wrapped() -> None:
        try:
            resume()
        except Exception as error:
            raise Interrupted from error

    trainer.resume = wrapped
    with pytest.raises(Interrupted):
        trainer.train()
    # Nothing else reads it: without the method the run begins anew.
    trainer = make_trainer(*opts, "RESUME", str(tmp_path / "first"), output=tmp_path / "second")
    trainer.resume = lambda: None
    scripted(trainer, [1.0, 2.0, 3.0])
    assert len(trainer.losses) == 15


def test_the_log_names_where_the_snapshot_was(
    make_trainer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opts = ["TRAINER.NAME", "RollingTrainer", *BEST]
    scripted(make_trainer(*opts, output=tmp_path / "first"), [60.0], stop_at=1)
    capsys.readouterr()
    scripted(make_trainer(*opts, "RESUME", str(tmp_path / "first"), output=tmp_path / "second"), [], stop_at=1)
    out = capsys.readouterr().out
    assert f"Found snapshot in {tmp_path / 'first'} (will resume at epoch 2)\n" in out
    assert f"Copied the best model so far from {tmp_path / 'first'}\n" in out
