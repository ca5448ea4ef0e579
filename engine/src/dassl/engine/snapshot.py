"""Rolling snapshots: everything a run needs to go on after a kill as if nothing had happened."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from ..utils.atomic import atomic_write, save_whole
from ..utils.checkpoint import load_plain

__all__ = [
    "find_snapshot",
    "load_random_state",
    "random_state",
    "read_snapshot",
    "remove_snapshot",
    "snapshot_path",
    "write_snapshot",
]

State = dict[str, Any]


def snapshot_path(output_dir: str) -> str:
    """Return where the snapshot of a run lies."""
    return os.path.join(output_dir, "resume.pt")


def write_snapshot(path: str, state: State) -> None:
    """Replace the snapshot."""
    with atomic_write(path) as file:
        save_whole(state, file)


def read_snapshot(path: str) -> State | None:
    """Read the snapshot, None if there is none. Its tensors are on the CPU."""
    if not os.path.isfile(path):
        return None
    # Loading copies tensors to where they belong; generator states must be on the CPU.
    return load_plain(path, map_location="cpu")


def find_snapshot(folders: Iterable[str]) -> tuple[str, State] | None:
    """Return the first of these folders that holds a snapshot, and what it holds; None if there is none."""
    for folder in folders:
        state = read_snapshot(snapshot_path(folder))
        if state is not None:
            return folder, state
    return None


def remove_snapshot(path: str) -> None:
    """Delete the snapshot if there is one."""
    with suppress(FileNotFoundError):
        os.remove(path)


def random_state() -> State:
    """Return the states of all global generators: Python, numpy, torch on CPU and, if it is in use, CUDA."""
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": random.getstate(),
        # The safe loader knows no arrays, and not every torch knows uint32.
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        # Asking starts CUDA, which a run on the CPU has no use for, and which takes memory of every device.
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def load_random_state(state: State) -> None:
    """Put all global generators into the states that :func:`random_state` returned."""
    random.setstate(state["python"])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    # A machine with other devices than before takes what it can.
    devices = torch.cuda.device_count() if state["cuda"] and torch.cuda.is_available() else 0
    for device, cuda_state in enumerate(state["cuda"][:devices]):
        torch.cuda.set_rng_state(cuda_state, device)
