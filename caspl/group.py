"""The processes of a run among each other: what they sum, gather and wait for (torch.distributed), and nothing else.

Nothing is sent but numbers. A process that is alone has a group of itself, which sends nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from caspl.errors import CasPLError, OthersFailed, first_line
from caspl.runtime import Place

T = TypeVar("T")

TIMEOUT = timedelta(minutes=30)
"""How long one process waits for the others: as long as the first may need to fetch weights or make an image cache."""
TURNS = 3
"""Of processes that do what writes into shared folders: the first one, the first of each other machine, the rest."""


_turns: list[Group] = []
"""The turn that this process is in; a process has one group, however often it has joined."""


class Group:
    """All processes of a run.

    Args:
        place: of this one.
    """

    def __init__(self, place: Place = Place()) -> None:  # noqa: B008  frozen
        self.place = place
        self.rank, self.world = place.rank, place.world
        self.share: Tensor | None = None

    @classmethod
    def join(cls, environment: Mapping[str, str] = os.environ) -> Group:
        """The processes that torchrun has started with this one; each has to come here. Again, it is the same group.

        Raises:
            CasPLError: the environment contradicts itself, or the others cannot be reached.
        """
        place = Place.of(environment)
        if place.world > 1 and not (dist.is_available() and dist.is_initialized()):
            if not dist.is_available():
                raise CasPLError("this torch has no torch.distributed: start one process")
            # Numbers on the host go through gloo, those on GPUs through NCCL.
            nccl = torch.cuda.is_available() and dist.is_nccl_available()
            try:
                dist.init_process_group("cpu:gloo,cuda:nccl" if nccl else "gloo", timeout=TIMEOUT)
            except (RuntimeError, ValueError) as error:
                raise CasPLError(
                    f"process {place.rank} of {place.world} cannot join the others ({first_line(error)}): start the "
                    "run with torchrun"
                ) from error
        return cls(place)

    def leave(self) -> None:
        """Part, once everything is done, for good: under torchrun a process cannot join again."""
        if self.world > 1:
            self.wait()
            dist.destroy_process_group()

    @property
    def writes(self) -> bool:
        """Whether this process writes what all share."""
        return self.rank == 0

    # Numbers ---------------------------------------------------------------------------------------------------

    def add_up(self, values: Tensor) -> Tensor:
        """Sum a tensor, of one shape in all processes, over them, in place; all get the same bits."""
        return self._reduce(values, dist.ReduceOp.SUM)

    def least(self, values: Tensor) -> Tensor:
        """As :meth:`add_up`, the smallest number of each place."""
        return self._reduce(values, dist.ReduceOp.MIN)

    def cat(self, rows: Tensor) -> Tensor:
        """The rows of all processes (any number each, of one shape), those of the first one first."""
        if self.world == 1:
            return rows
        host = rows.detach().cpu().contiguous()
        counts = [torch.zeros(1, dtype=torch.long) for _ in range(self.world)]
        self._waiting(lambda: dist.all_gather(counts, torch.tensor([len(host)])))
        room = torch.zeros(max(int(count) for count in counts), *host.shape[1:], dtype=host.dtype)
        room[: len(host)] = host
        parts = [torch.empty_like(room) for _ in counts]
        self._waiting(lambda: dist.all_gather(parts, room))
        kept = [part[: int(count)] for part, count in zip(parts, counts, strict=True)]
        return torch.cat(kept).to(rows.device)

    def total(self, values: Tensor) -> Tensor:
        """The sum over the processes, through which gradients flow: for what a loss needs of the whole batch.

        A process's part of a mean over the batch is its own mean times :attr:`share`. With batch normalisation, ::

            mean = group.total(group.share * x.mean(dim=0))
            variance = group.total(group.share * (x - mean).square().mean(dim=0))

        are those of the whole batch (torch.nn.SyncBatchNorm is for CUDA alone). The loss is that of a process's own
        images, weighted by its share as every loss is. Such a step must not be recorded.
        """
        return _Total.apply(values, self) if self.world > 1 else values

    # Waiting ---------------------------------------------------------------------------------------------------

    def wait(self) -> None:
        """Come back when all have come here."""
        self.agree(True)

    def agree(self, well: bool) -> bool:
        """Whether all of them say so."""
        return well if self.world == 1 else bool(self.least(torch.tensor([float(well)])))

    def require_same(self, values: Tensor, what: str) -> None:
        """Refuse to go on with processes that differ.

        Args:
            values: numbers.
            what: they are, for the sentence.

        Raises:
            CasPLError: they are not those of all others.
        """
        rows = self.cat(values.detach().double().reshape(1, -1).cpu())
        if not (rows == rows[0]).all():
            raise self.refusal(
                f"the {self.world} processes have not the same {what}: all machines need the same code, and an output "
                "folder, data and weights that they share"
            )

    def refusal(self, sentence: str) -> CasPLError:
        """What each process raises where all of them find the same: the first one's is the one that is said."""
        return CasPLError(sentence) if self.writes else OthersFailed(sentence)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Do something in every process, in the first one first: the others find what it has fetched or written.

        Within a turn, another one is a part of it.

        Raises:
            OthersFailed: another process has failed in it.
        """
        if _turns:
            yield
            return
        _turns.append(self)
        try:
            with self._taking_turns():
                yield
        finally:
            _turns.clear()

    @contextmanager
    def _taking_turns(self) -> Iterator[None]:
        place = self.place
        mine = 0 if place.rank == 0 else 1 if place.local == 0 else TURNS - 1
        turns = TURNS if self.world > 1 else 0
        for _ in range(min(mine, turns)):
            self._require(self.agree(True))
        try:
            yield
        except Exception:
            self.agree(False)  # the others end in this very turn
            raise
        self._require(all(self.agree(True) for _ in range(mine, turns)))

    def first(self, work: Callable[[], T]) -> T | None:
        """Let the first process do something, and the others wait for it.

        Returns:
            What it gives; None in the others.

        Raises:
            OthersFailed: it failed, and this is another.
        """
        try:
            made = work() if self.writes else None
        except Exception:
            self.agree(False)
            raise
        self._require(self.agree(True))
        return made

    # -----------------------------------------------------------------------------------------------------------

    def _require(self, well: bool) -> None:
        if not well:
            raise OthersFailed(f"process {self.rank} of {self.world} ends, since another has failed")

    def _reduce(self, values: Tensor, how: Any) -> Tensor:
        if self.world > 1:
            self._waiting(lambda: dist.all_reduce(values, how))
        return values

    def _waiting(self, work: Callable[[], object]) -> None:
        try:
            work()
        except RuntimeError as error:
            raise CasPLError(
                f"process {self.rank} of {self.world} has lost another one of them ({first_line(error)}): what "
                "torchrun says names the one that ended first; the same command goes on from the last finished epoch"
            ) from error


class _Total(torch.autograd.Function):
    """The sum; what comes back to it in the backward pass is a sum over the processes too."""

    @staticmethod
    def forward(context: Any, values: Tensor, group: Group) -> Tensor:
        context.group = group
        return group.add_up(values.detach().clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(context: Any, grad: Tensor) -> tuple[Tensor, None]:
        return context.group.add_up(grad.clone(memory_format=torch.contiguous_format)), None
