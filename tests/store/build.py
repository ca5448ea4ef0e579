"""Builds a store of made-up features, slowly: a process of its own, which a test kills."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from caspl.store import Header, Store
from caspl.store.store import Row

HEADER = Header("teacher", "0123", "EuroSAT", "abcd", {"seed": 0}, {"size": 32})
ROWS = [(f"image {number}", view) for view in range(3) for number in range(40)]


def features_of(rows: list[Row]) -> Tensor:
    """Of one row each, from its name."""
    values = [torch.randn(16, generator=torch.Generator().manual_seed(sum(repr(row).encode()))) for row in rows]
    return F.normalize(torch.stack(values), dim=-1)


def build(folder: str, pause: float = 0.0) -> int:
    """Build what is missing; returns how many rows that was."""

    def encode(rows: list[Row]) -> Iterator[Tensor]:
        for row in rows:
            time.sleep(pause)
            yield features_of([row])

    return Store(folder, HEADER, rows=8).complete(ROWS, encode)


if __name__ == "__main__":
    print(build(sys.argv[1], float(sys.argv[2])))
