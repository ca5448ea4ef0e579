"""Where a run computes; a run on the CPU leaves the GPUs of its machine alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_toy import ToyTrainer
from torch import nn
from torch.utils import collect_env

from dassl.engine import snapshot
from dassl.utils import checkpoint as checkpoint_module
from dassl.utils import collect_env_info, load_checkpoint, load_pretrained_weights, save_checkpoint, set_random_seed
from dassl.utils.device import configured_device

# These start CUDA. Seeds and states of generators can be set without: they wait until it is started.
STARTS = ["init", "_lazy_init", "get_rng_state", "get_rng_state_all", "current_device", "synchronize",
          "get_device_properties", "get_device_name", "mem_get_info", "set_device"]  # fmt: skip


@pytest.fixture
def idle_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU that must not be touched."""

    def start(*args: object, **kwargs: object) -> None:
        raise AssertionError("CUDA is started")

    import torch._dynamo

    for name in STARTS:
        monkeypatch.setattr(torch.cuda, name, start)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)


@pytest.fixture
def locations(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Where files are read to."""
    seen = []
    load = torch.load

    def watch(file: Any, map_location: Any = None, **kwargs: Any) -> Any:
        seen.append(map_location)
        return load(file, map_location=map_location, **kwargs)

    monkeypatch.setattr(torch, "load", watch)
    return seen


@pytest.mark.usefixtures("idle_gpu")
@pytest.mark.parametrize("kind", ["ToyTrainer", "RollingTrainer"])
def test_a_run_on_the_cpu(make_trainer: Any, tmp_path: Path, locations: list[Any], kind: str) -> None:
    opts = ["TRAINER.NAME", kind, "TEST.FINAL_MODEL", "best_val", "TRAIN.CHECKPOINT_FREQ", 1]
    first = make_trainer(*opts, "OPTIM.MAX_EPOCH", 2, output=tmp_path / "first")
    first.max_epoch = 3
    step = first.forward_backward

    def forward_backward(batch: Any) -> Any:
        if first.epoch == 2:
            raise KeyboardInterrupt
        return step(batch)

    first.forward_backward = forward_backward
    with pytest.raises(KeyboardInterrupt):
        first.train()
    second = make_trainer(*opts, "RESUME", str(tmp_path / "first"), output=tmp_path / "second")
    assert not second.train_loader_x.pin_memory
    second.train()
    assert second.start_epoch == 2
    second.load_model(second.output_dir, epoch=3)
    # From a machine with a GPU the same files would bring its memory along.
    assert set(locations) == {"cpu"}


@pytest.mark.usefixtures("idle_gpu")
def test_states_of_generators(monkeypatch: pytest.MonkeyPatch) -> None:
    set_random_seed(3)
    state = snapshot.random_state()
    assert state["cuda"] == []
    # A state from a run on a GPU waits until CUDA is started, if ever.
    given = []
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: given.append((state, device)))
    snapshot.load_random_state({**state, "cuda": ["first", "second"]})
    assert given == [("first", 0)]
    # In use, its generators are kept.
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: ["state"])
    assert snapshot.random_state()["cuda"] == ["state"]


@pytest.mark.usefixtures("idle_gpu")
def test_weights_are_read_to_the_cpu(tmp_path: Path, locations: list[Any]) -> None:
    model = nn.Linear(1, 1)
    save_checkpoint({"state_dict": model.state_dict(), "epoch": 1}, str(tmp_path))
    path = str(tmp_path / "model.pth.tar-1")
    checkpoint_module.resume_from_checkpoint(str(tmp_path), model)
    load_pretrained_weights(model, path)
    assert locations == ["cpu", "cpu"]
    # As documented, this one leaves tensors on the device they were saved from.
    load_checkpoint(path)
    assert locations[2:] == [None]


@pytest.mark.usefixtures("idle_gpu")
def test_the_environment_is_described_without_starting_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    # As torch's own, without the programs that it starts.
    monkeypatch.setattr(collect_env, "get_pretty_env_info", lambda: collect_env.get_cuda_module_loading_config())
    monkeypatch.setitem(os.environ, "CUDA_MODULE_LOADING", "EAGER")
    assert collect_env_info().startswith("EAGER\n")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(AssertionError, match="CUDA is started"):
        collect_env_info()


@pytest.mark.parametrize(("wanted", "there", "device"), [(1, 1, "cuda"), (1, 0, "cpu"), (0, 1, "cpu"), (0, 0, "cpu")])
def test_one_place_decides(
    make_cfg: Any, monkeypatch: pytest.MonkeyPatch, wanted: int, there: int, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(there))
    cfg = make_cfg("USE_CUDA", bool(wanted))
    assert configured_device(cfg) == torch.device(device)

    class Unbuilt(ToyTrainer):
        def build_model(self) -> None:
            pass

    trainer = Unbuilt(cfg)
    assert trainer.device == torch.device(device)
    assert trainer.train_loader_x.pin_memory == trainer.test_loader.pin_memory == (device == "cuda")


def test_a_trainer_chooses_its_device(make_cfg: Any) -> None:
    class Elsewhere(ToyTrainer):
        def check_cfg(self, cfg: Any) -> None:
            self.checked = True

        def choose_device(self, cfg: Any) -> torch.device:
            assert self.checked
            assert not hasattr(self, "cfg")
            assert super().choose_device(cfg) == torch.device("cpu")
            return torch.device("meta")

        def build_model(self) -> None:
            assert self.device == torch.device("meta")
            super().build_model()

    trainer = Elsewhere(make_cfg())
    assert trainer.model.fc.weight.device == torch.device("meta")
