"""Where a run computes, which of its processes this is, and who writes: decided here, once, and handed on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from caspl.errors import CasPLError

MEGABYTE = 2**20


@dataclass(frozen=True)
class Place:
    """A process's number in a run, as torchrun gives it.

    Args:
        rank, world: number of this process, and how many there are.
        local, local_world: likewise among those of its machine.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    local_world: int = 1

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Place:
        """What the environment says; without a word, a process that is alone.

        Raises:
            CasPLError: if RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE contradict each other.
        """
        names = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}
        try:
            rank, world, local = (int(environment.get(name) or default) for name, default in names.items())
            together = int(environment.get("LOCAL_WORLD_SIZE") or local + 1)
        except ValueError:
            rank = world = local = together = -1
        if not 0 <= local <= rank < world or not local < together <= world:
            said = ", ".join(f"{name}={environment.get(name)}" for name in (*names, "LOCAL_WORLD_SIZE"))
            raise CasPLError(f"{said} in the environment is no process of a run: start it with torchrun, or unset them")
        return cls(rank, world, local, together)


@dataclass(frozen=True)
class Runtime:
    """Where a process of a run computes, and which it is.

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
            CasPLError: if the environment contradicts itself, or there is no device for each process.
        """
        place = Place.of(environment)
        return cls(_device(accelerator, place), place.rank, place.world)

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


def _device(accelerator: bool, place: Place) -> torch.device:
    if accelerator and torch.cuda.is_available():
        if place.world == 1:
            return torch.device("cuda")
        if place.local >= torch.cuda.device_count():
            raise CasPLError(
                f"process {place.rank} is number {place.local + 1} on its machine, but sees "
                f"{torch.cuda.device_count()} GPUs: start as many processes as there are (torchrun --nproc-per-node)"
            )
        return torch.device("cuda", place.local)
    if accelerator and torch.backends.mps.is_available():
        if place.world > 1:
            raise CasPLError("several processes do not share an MPS device: start one, or set USE_CUDA False")
        return torch.device("mps")
    return torch.device("cpu")
