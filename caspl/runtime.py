"""Where a run computes, which of its processes this is, and who writes: decided here, once, and handed on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from caspl.errors import CasPLError

MEGABYTE = 2**20


@dataclass(frozen=True)
class Runtime:
    """A process's place in a run.

    Args:
        device: where its model lives.
        rank, world: number of this process, and how many there are.
    """

    device: torch.device
    rank: int = 0
    world: int = 1

    @classmethod
    def choose(cls, accelerator: bool = True, environment: Mapping[str, str] = os.environ) -> Runtime:
        """CUDA or MPS where there is one and it may be used, else the CPU; rank and world as torchrun gives them.

        Raises:
            CasPLError: if RANK, WORLD_SIZE and LOCAL_RANK in the environment contradict each other.
        """
        names = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}
        try:
            rank, world, local = (int(environment.get(name) or default) for name, default in names.items())
        except ValueError:
            rank = world = local = -1
        if not 0 <= local <= rank < world:
            said = ", ".join(f"{name}={environment.get(name)}" for name in names)
            raise CasPLError(f"{said} in the environment is no process of a run: start it with torchrun, or unset them")
        return cls(_device(accelerator, local), rank, world)

    @property
    def writes(self) -> bool:
        """Whether this process writes what all share: logs, checkpoints, records."""
        return self.rank == 0

    @property
    def device_name(self) -> str:
        """The device as records name it: ``cpu``, ``mps``, or the graphics card's name."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type

    @property
    def device_memory_mb(self) -> float | None:
        """Most MiB that tensors took on the device so far; None where the device does not count them."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / MEGABYTE
        if self.device.type == "mps":
            return torch.mps.driver_allocated_memory() / MEGABYTE
        return None


def _device(accelerator: bool, local: int) -> torch.device:
    if accelerator and torch.cuda.is_available():
        return torch.device("cuda", local) if local else torch.device("cuda")
    if accelerator and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")
