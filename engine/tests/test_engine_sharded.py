"""The images of a loader, dealt out to several processes."""

from __future__ import annotations

import pytest
from torch.utils.data import BatchSampler, SequentialSampler

from dassl.data.sharded import BlockSampler, SlicedBatches


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("images", [1, 4, 7, 10])
@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("drop_last", [False, True])
def test_slices_make_up_the_batches_of_one_process(images: int, size: int, world: int, drop_last: bool) -> None:
    order = SequentialSampler(range(images))
    whole = list(BatchSampler(order, size, drop_last))
    samplers = [SlicedBatches(order, size, drop_last, rank, world) for rank in range(world)]
    slices = [list(sampler) for sampler in samplers]
    assert {len(sampler) for sampler in samplers} == {len(whole)}
    for number, batch in enumerate(whole):
        shares = [sampler.share(number) for sampler in samplers]
        counted = [part[number] if share else [] for part, share in zip(slices, shares, strict=True)]
        assert [index for part in counted for index in part] == batch
        assert shares == [len(part) / len(batch) for part in counted]
        assert max(map(len, counted)) - min(map(len, counted)) <= 1
        assert all(part[number] for part in slices)  # all have something to compute with


def test_shares_are_those_of_the_last_pass() -> None:
    sampler = SlicedBatches(SequentialSampler(range(5)), 3, False, 0, 2)
    for _ in range(2):
        assert list(sampler) == [[0], [3]]
        assert [sampler.share(number) for number in range(2)] == [1 / 3, 1 / 2]


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("images", [1, 2, 7])
def test_blocks_make_up_the_order(images: int, world: int) -> None:
    blocks = [BlockSampler(SequentialSampler(range(images)), rank, world) for rank in range(world)]
    assert [index for block in blocks for index in block] == list(range(images))
    assert [len(block) for block in blocks] == [len(list(block)) for block in blocks]
