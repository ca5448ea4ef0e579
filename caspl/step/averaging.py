"""Gaussian-weighted prompt aggregation (PromptSRC, arXiv 2307.06948, section 3.2.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from caspl.errors import CasPLError


class GaussianAverage:
    """A sum of snapshots over epochs 1..T, weighted by a normal density normalised over these epochs.

    Args:
        mean, std: of the density, in epochs.
        epochs: T.
    """

    def __init__(self, mean: float, std: float, epochs: int) -> None:
        if std <= 0 or epochs < 1:
            raise CasPLError(f"an average over {epochs} epochs with standard deviation {std} cannot be formed")
        density = [math.exp(-0.5 * ((epoch - mean) / std) ** 2) for epoch in range(1, epochs + 1)]
        total = sum(density)
        if total == 0:
            raise CasPLError(f"the weights of mean {mean} and standard deviation {std} vanish on all {epochs} epochs")
        self.weights = [value / total for value in density]
        self.epochs_seen = 0
        self._sum: dict[str, Tensor] = {}

    def add(self, epoch: int, state: Mapping[str, Tensor]) -> None:
        """Add the snapshot of a 1-based epoch."""
        weight = self.weights[epoch - 1]
        self.epochs_seen += 1
        for name, value in state.items():
            weighted = weight * value.detach()
            # A resumed sum comes from the CPU.
            self._sum[name] = self._sum[name].to(weighted.device) + weighted if name in self._sum else weighted

    def result(self) -> dict[str, Tensor]:
        """The weighted sum of all snapshots so far."""
        return self._sum

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"epochs_seen": self.epochs_seen, "sum": dict(self._sum)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved sum."""
        self.epochs_seen, self._sum = state["epochs_seen"], dict(state["sum"])
