"""Writing and reading single files of weights."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dassl.utils import atomic, load_checkpoint, load_pretrained_weights, resume_from_checkpoint, save_checkpoint
from dassl.utils.atomic import atomic_write


class Interrupted(Exception):
    pass


def test_save_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = {"state_dict": {"module.module.a": torch.ones(1), "b": torch.zeros(2)}, "epoch": 7}
    folder = str(tmp_path / "new" / "model")
    save_checkpoint(state, folder, is_best=True)
    assert capsys.readouterr().out == (
        f'Checkpoint saved to {folder}/model.pth.tar-7\nBest checkpoint saved to "{folder}/model-best.pth.tar"\n'
    )
    for name in ("model.pth.tar-7", "model-best.pth.tar"):
        assert list(load_checkpoint(f"{folder}/{name}")["state_dict"]) == ["module.a", "b"]
    # The text file names what was saved, not the copy.
    assert Path(folder, "checkpoint").read_text() == "model.pth.tar-7\n"
    save_checkpoint(state, folder, remove_module_from_keys=False, model_name="raw")
    assert list(load_checkpoint(f"{folder}/raw")["state_dict"]) == ["module.module.a", "b"]
    assert Path(folder, "checkpoint").read_text() == "raw\n"


def test_load_checkpoint_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="File path is None"):
        load_checkpoint(None)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match=f'File is not found at "{tmp_path}/none"'):
        load_checkpoint(str(tmp_path / "none"))
    (tmp_path / "half").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(RuntimeError):
        load_checkpoint(str(tmp_path / "half"))
    assert capsys.readouterr().out == f'Unable to load checkpoint from "{tmp_path}/half"\n'


def test_resume_without_optimizer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Linear(1, 1)
    save_checkpoint({"state_dict": model.state_dict(), "epoch": 4, "optimizer": None}, str(tmp_path))
    capsys.readouterr()
    other = nn.Linear(1, 1)
    assert resume_from_checkpoint(str(tmp_path), other, torch.optim.SGD(other.parameters(), lr=1.0)) == 4
    assert torch.equal(other.weight, model.weight)
    assert "Loaded optimizer" not in capsys.readouterr().out


def test_pretrained_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Linear(2, 2)
    path = str(tmp_path / "weights.pt")
    torch.save({"state_dict": {"module.weight": torch.ones(2, 2), "bias": torch.ones(3), "x": torch.ones(1)}}, path)
    load_pretrained_weights(model, path)
    assert torch.equal(model.weight, torch.ones(2, 2))
    assert capsys.readouterr().out == (
        f"Successfully loaded pretrained weights from {path}\n"
        "Layers discarded due to unmatched keys or size: ['bias', 'x']\n"
    )
    torch.save({"bias": torch.full((2,), 3.0)}, path)
    load_pretrained_weights(model, path)
    assert model.bias.tolist() == [3.0, 3.0]
    assert "discarded" not in capsys.readouterr().out
    torch.save({"y": torch.ones(1)}, path)
    with pytest.warns(UserWarning, match=r"Cannot load .* \(check the key names manually\)"):
        load_pretrained_weights(model, path)


def test_writes_are_atomic(tmp_path: Path, make_trainer: Any) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with atomic_write(path, "w") as file:
            file.write("half")
            file.flush()
            assert path.read_text() == "old"
            raise Interrupted

    with pytest.raises(Interrupted):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]
    with atomic_write(path, "w") as file:
        file.write("new")
    assert path.read_text() == "new"
    # As readable for others as any file.
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_new_file_survives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    sync, replace = os.fsync, os.replace

    def watch(descriptor: int) -> None:
        steps.append("folder" if os.path.samestat(os.fstat(descriptor), os.stat(tmp_path)) else "file")
        sync(descriptor)

    def moved(*paths: Any) -> None:
        steps.append("replace")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", watch)
    monkeypatch.setattr(os, "replace", moved)
    with atomic_write(tmp_path / "file", "w") as file:
        file.write("text")
    assert steps == ["file", "replace", "folder"]
    # A bare name lies in the current folder.
    monkeypatch.chdir(tmp_path)
    with atomic_write("other", "w") as file:
        file.write("text")
    assert steps[3:] == steps[:3]


def test_folders_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> int:
        raise PermissionError

    # As on Windows.
    monkeypatch.setattr(os, "open", refuse)
    with atomic_write(tmp_path / "file", "w") as file:
        file.write("text")
    monkeypatch.undo()
    assert (tmp_path / "file").read_text() == "text"


def test_writers_of_one_file_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As two writers with the same number, in two containers.
    path = tmp_path / "file"
    with atomic_write(path, "w") as slow:
        slow.write("slow")
        with atomic_write(path, "w") as fast:
            fast.write("fast")
        assert path.read_text() == "fast"
    assert path.read_text() == "slow"
    assert os.listdir(tmp_path) == ["file"]
    # A temporary file that is there is another's: it is neither written nor removed.
    monkeypatch.setattr(atomic.secrets, "token_hex", lambda size: "same")
    with atomic_write(path, "w") as slow:
        slow.write("first")
        with pytest.raises(FileExistsError), atomic_write(path, "w"):
            pass
    assert path.read_text() == "first"


def test_a_failing_save_keeps_the_old_checkpoint(make_trainer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer()
    trainer.save_model(0, trainer.output_dir)
    before = (Path(trainer.output_dir, "prompt_learner", "model.pth.tar-1")).read_bytes()

    def half(state: Any, file: Any) -> None:
        file.write(b"half")
        raise Interrupted

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(Interrupted):
        trainer.save_model(0, trainer.output_dir)
    assert (Path(trainer.output_dir, "prompt_learner", "model.pth.tar-1")).read_bytes() == before
    shutil.rmtree(trainer.output_dir)
