"""Device, rank and world, and that a run on the CPU leaves a GPU alone."""

from __future__ import annotations

import pytest
import torch

from caspl.errors import CasPLError
from caspl.runtime import Place, Runtime
from caspl.zoo import load_clip


def test_the_cpu_where_nothing_else_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Runtime.choose(False, {}) == Runtime(torch.device("cpu"))
    assert Runtime.choose(True, {}).device == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    second = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    assert Runtime.choose(True, second) == Runtime(torch.device("cuda", 1), 5, 8)
    assert Place.of(second) == Place(5, 8, 1, 4)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(CasPLError, match="process 5 is number 2 on its machine, but sees 1 GPUs"):
        Runtime.choose(True, second)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert Runtime.choose(True, {}).device_name == "mps"
    with pytest.raises(CasPLError, match="do not share an MPS device"):
        Runtime.choose(True, second)


def test_one_process_writes() -> None:
    device = torch.device("cpu")
    assert [Runtime(device, rank, 2).writes for rank in (0, 1)] == [True, False]


@pytest.mark.parametrize(
    "given",
    [
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"RANK": "x"},
        {"RANK": "0", "LOCAL_RANK": "1"},
        {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "3"},
    ],
)
def test_ranks_that_cannot_be(given: dict[str, str]) -> None:
    with pytest.raises(CasPLError, match="in the environment is no process of a run"):
        Runtime.choose(False, given)


def test_loading_a_clip_asks_nothing_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """open_clip's random weights are drawn on the CPU, and only that generator is put back."""

    def started(*args: object) -> None:
        raise AssertionError("CUDA was started")

    monkeypatch.setattr(torch.cuda, "get_rng_state", started)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr("open_clip.list_pretrained_tags_by_model", lambda architecture: ["tag"])

    class Offline(Exception):
        pass

    def create(*args: object, **kwargs: object) -> None:
        torch.randn(3)
        raise Offline

    monkeypatch.setattr("open_clip.create_model", create)
    state = torch.random.get_rng_state()
    with pytest.raises(CasPLError, match="could not be downloaded"):
        load_clip("ViT-B-16:tag")
    assert torch.equal(torch.random.get_rng_state(), state)
