"""Numbers that stay on the device until somebody looks at them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..utils.meters import number

__all__ = ["hold", "to_host"]


def hold(value: Any) -> Any:
    """Return what ``value`` is now, without waiting for the device.

    Args:
        value: a number, or a tensor or array of one element.

    Returns:
        A number, or a tensor of no dimension that nobody else has. It is a copy, made on the device, since the
        next batch may write into the same memory: a running sum, or the replay of a captured graph.
    """
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.detach().reshape(()).clone()
    return number(value)


def to_host(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with numbers in place of tensors: one transfer for each device and type among them."""
    groups: dict[tuple[torch.device, torch.dtype], list[tuple[int, str]]] = defaultdict(list)
    for index, row in enumerate(rows):
        for name, value in row.items():
            if isinstance(value, Tensor):
                groups[value.device, value.dtype].append((index, name))
    arrived = [dict(row) for row in rows]
    for places in groups.values():
        values = torch.stack([rows[index][name] for index, name in places]).tolist()
        for (index, name), value in zip(places, values, strict=True):
            arrived[index][name] = value
    return arrived
