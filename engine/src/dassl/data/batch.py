"""A batch whose images are made where they shall lie: collating copies none, and memory does not come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

__all__ = ["Batch", "RoomFor", "collate"]

Item = dict[str, Any]
RoomFor = Callable[[Tensor], Tensor]
"""From pixels (3, height, width) to uninitialised floats of that size."""


class Batch(list[Item]):
    """Items whose "img" are the rows of ``images``: floats, (batch, 3, height, width).

    Args:
        size: how many items there will be.
    """

    images: Tensor | None = None

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def room_for(self, pixels: Tensor) -> Tensor:
        """Return the row of the next item; the first item's pixels say how large rows are."""
        if self.images is None:
            self.images = torch.empty(self.size, *pixels.shape)
        return self.images[len(self)]


def collate(items: list[Item]) -> Item:
    """Collate as torch does; the images of a :class:`Batch` are there already."""
    if not isinstance(items, Batch):
        return default_collate(items)
    batch = default_collate([{key: value for key, value in item.items() if key != "img"} for item in items])
    return {**batch, "img": items.images}
