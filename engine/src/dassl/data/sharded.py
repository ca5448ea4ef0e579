"""The images of one loader, dealt out to the processes of a run."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Sampler

__all__ = ["BlockSampler", "SlicedBatches"]


class SlicedBatches(Sampler[list[int]]):
    """Of each batch of a sampler, the slice that belongs to one process.

    The batches are those of a single process, in the same order; the slices of all processes make up each of them, and
    differ by one image at most. A process that gets nothing of a batch, since it has fewer images than there are
    processes, is given its first image all the same, so that it has something to compute with; :meth:`share` is 0 then.

    Args:
        sampler: the order of the images; it must be the same in every process.
        batch_size: images of a batch, over all processes.
        drop_last: leave out a last batch of fewer images.
        rank, world: number of the process, and how many there are.
    """

    def __init__(self, sampler: Sampler[int], batch_size: int, drop_last: bool, rank: int, world: int) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.rank, self.world = rank, world
        self._shares: list[float] = []

    def __len__(self) -> int:
        images = len(self.sampler)  # type: ignore[arg-type]  # every sampler here has a length
        return images // self.batch_size if self.drop_last else -(-images // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        self._shares = []
        whole: list[int] = []
        for index in self.sampler:
            whole.append(index)
            if len(whole) == self.batch_size:
                yield self._slice(whole)
                whole = []
        if whole and not self.drop_last:
            yield self._slice(whole)

    def share(self, batch_idx: int) -> float:
        """Return which part of a batch this process has, from 0 to 1.

        Args:
            batch_idx: its index in the last pass, from 0.
        """
        return self._shares[batch_idx]

    def _slice(self, whole: list[int]) -> list[int]:
        start, end = (len(whole) * rank // self.world for rank in (self.rank, self.rank + 1))
        self._shares.append((end - start) / len(whole))
        return whole[start:end] or whole[:1]


class BlockSampler(Sampler[int]):
    """Of the order of a sampler, the block that belongs to one process; those of all, put together, are the order.

    Args:
        sampler: the order of the images; it must be the same in every process.
        rank, world: number of the process, and how many there are.
    """

    def __init__(self, sampler: Sampler[int], rank: int, world: int) -> None:
        self.sampler = sampler
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        start, end = self._ends(len(self.sampler))  # type: ignore[arg-type]  # every sampler here has a length
        return end - start

    def __iter__(self) -> Iterator[int]:
        order = list(self.sampler)
        start, end = self._ends(len(order))
        return iter(order[start:end])

    def _ends(self, images: int) -> tuple[int, int]:
        return images * self.rank // self.world, images * (self.rank + 1) // self.world
