"""Checkpoints of the original, which hold a scheduler object with its optimizer; and files that mean harm."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_checkpoint, resume_from_checkpoint
from dassl.utils.legacy import Inert

OPTIM = ["OPTIM.MAX_EPOCH", 10, "OPTIM.WARMUP_EPOCH", 1, "OPTIM.WARMUP_TYPE", "constant"]


def write_original(folder: Path, cfg: Any, epochs: int, zipped: bool = True) -> list[float]:
    """Write what the original writes after some epochs; return the rates of the epochs that follow."""
    model = nn.Linear(3, 4)
    optimizer = build_optimizer(model, cfg.OPTIM)
    scheduler: Any = build_lr_scheduler(optimizer, cfg.OPTIM)

    def epoch() -> float:
        rate = optimizer.param_groups[0]["lr"]
        optimizer.zero_grad()
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        scheduler.step()
        return rate

    for _ in range(epochs):
        epoch()
    attributes = {key: value for key, value in vars(scheduler).items() if key != "optimizer"}
    attributes.update(verbose=False, _get_lr_called_within_step=False)
    assert isinstance(attributes["successor"], torch.optim.lr_scheduler.LRScheduler)
    state = {
        "state_dict": OrderedDict(model.state_dict()),
        "epoch": epochs,
        "optimizer": optimizer.state_dict(),
        "scheduler": attributes,
        "val_result": np.float64(61.5),
    }
    folder.mkdir()
    torch.save(state, folder / f"model.pth.tar-{epochs}", _use_new_zipfile_serialization=zipped)
    (folder / "checkpoint").write_text(f"model.pth.tar-{epochs}\n")
    return [epoch() for _ in range(epochs, 10)]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("epochs", [1, 4])
def test_resume(make_cfg: Any, tmp_path: Path, zipped: bool, epochs: int) -> None:
    cfg = make_cfg(*OPTIM)
    rest = write_original(tmp_path / "old", cfg, epochs, zipped)
    path = tmp_path / "old" / f"model.pth.tar-{epochs}"
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)

    model = nn.Linear(3, 4)
    optimizer = build_optimizer(model, cfg.OPTIM)
    scheduler: Any = build_lr_scheduler(optimizer, cfg.OPTIM)
    assert resume_from_checkpoint(str(tmp_path / "old"), model, optimizer, scheduler) == epochs
    rates = []
    for _ in range(epochs, 10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == rest
    assert rest[-1] == pytest.approx(1.9098300563e-4, abs=1e-12)
    assert scheduler.successor.optimizer is optimizer


def test_objects_are_inert(make_cfg: Any, tmp_path: Path) -> None:
    write_original(tmp_path / "old", make_cfg(*OPTIM), 4)
    checkpoint = load_checkpoint(str(tmp_path / "old" / "model.pth.tar-4"))
    successor: Any = checkpoint["scheduler"]["successor"]
    assert [type(successor).__name__, type(successor.optimizer).__name__] == [Inert.__name__] * 2
    assert successor.T_max == 10
    assert successor.optimizer.param_groups[0]["momentum"] == 0.9
    assert checkpoint["val_result"] == 61.5
    assert checkpoint["state_dict"]["weight"].shape == (4, 3)


class Harmful:
    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> Any:
        return self.function, self.args


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("function", [os.mkdir, eval, torch.hub.load_state_dict_from_url])
def test_code_is_refused(tmp_path: Path, function: Any, zipped: bool) -> None:
    target = tmp_path / "made"
    argument = f"__import__('os').mkdir({str(target)!r})" if function is eval else str(target)
    path = tmp_path / "model.pth.tar-1"
    # A scheduler object beside it leads past the safe loader.
    state = {"state_dict": {}, "epoch": 1, "scheduler": Harmful(function, argument)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(pickle.UnpicklingError, match=f"refusing to restore .*{function.__name__}"):
        load_checkpoint(str(path))
    assert not target.exists()


# torch doubts that its safe loader knows protocol 4.
@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4:UserWarning")
@pytest.mark.parametrize(
    "name", [b"torch\nhub.load", b"torch.optim.sgd\nSGD.__init__.__globals__", b"collections\nabc.sys.exit"]
)
def test_dotted_names_lead_nowhere(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / "model.pth.tar-1"
    module, attribute = name.split(b"\n")

    def short(text: bytes) -> bytes:
        return b"\x8c" + bytes([len(text)]) + text

    # Protocol 4, whose STACK_GLOBAL walks along dots.
    data = b"\x80\x04" + short(module) + short(attribute) + b"\x93."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    if module.startswith(b"torch.optim"):
        assert load_checkpoint(str(path)) is Inert
    else:
        with pytest.raises(pickle.UnpicklingError, match="refusing to restore"):
            load_checkpoint(str(path))
