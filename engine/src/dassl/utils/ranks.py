"""Which of the processes of a run this is, as ``torch.distributed`` knows it once somebody has joined it.

The engine never starts processes and never joins them: a trainer that can train in several does. Without such a one
all questions have the answers of a process that is alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist

__all__ = ["gather_numbers", "is_first", "rank_and_world", "wait_for_all"]


def rank_and_world() -> tuple[int, int]:
    """Return the number of this process, from 0, and how many there are."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def is_first() -> bool:
    """Return whether this process writes what all share: logs, checkpoints, snapshots."""
    return rank_and_world()[0] == 0


def wait_for_all() -> None:
    """Come back when every process of the run has come here.

    Raises:
        ConnectionError: another process has ended.
    """
    if rank_and_world()[1] > 1:
        # As a sum of numbers on the host: a barrier would start the devices.
        with _all_there():
            dist.all_reduce(torch.zeros(1))


def gather_numbers(numbers: Sequence[int]) -> list[int]:
    """Return the numbers of all processes, those of the first one first; each may have as many as it likes.

    Raises:
        ConnectionError: another process has ended.
    """
    _, world = rank_and_world()
    if world == 1:
        return list(numbers)
    counts = [torch.zeros(1, dtype=torch.int64) for _ in range(world)]
    with _all_there():
        dist.all_gather(counts, torch.tensor([len(numbers)]))
    longest = max(int(count) for count in counts)
    own = torch.zeros(longest, dtype=torch.int64)
    own[: len(numbers)] = torch.tensor(numbers, dtype=torch.int64)
    parts = [torch.zeros(longest, dtype=torch.int64) for _ in range(world)]
    with _all_there():
        dist.all_gather(parts, own)
    return [number for part, count in zip(parts, counts, strict=True) for number in part[: int(count)].tolist()]


@contextmanager
def _all_there() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        rank, world = rank_and_world()
        raise ConnectionError(
            f"process {rank} of {world} has lost another one; the same command goes on from the last finished epoch"
        ) from error
