"""Steps that a loss scaler leaves out, counted without waiting for the device where the optimizer does not wait either.

A fused optimizer looks at the device's flag itself: it is called in every step, and the flag is counted there. Any
other is called by the scaler where gradients are finite, and not called where they are not.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Skips:
    """A count.

    Args:
        device: of the flag.
        count: so far.
    """

    def __init__(self, device: torch.device, count: int = 0) -> None:
        self._host = count
        self._device = torch.zeros((), device=device)
        self._called = False

    def before_step(self) -> None:
        """Before the scaler steps."""
        self._called = False

    def stepped(self, found_inf: Tensor | None) -> None:
        """The optimizer was called.

        Args:
            found_inf: the flag that it was given, not 0 where it leaves the step out; None where it was given none.
        """
        self._called = True
        if found_inf is not None:
            self._device += (found_inf != 0).reshape(())

    def after_step(self) -> None:
        """After the scaler's step."""
        self._host += not self._called

    def count(self) -> int:
        """So far; this waits for the device."""
        return self._host + int(self._device)
