"""A trainer's tensors as fake ones, on CUDA or elsewhere: device, type and shape but no values; no GPU is needed.

What mixes devices fails then as on a GPU, and what asks a tensor for its value fails at once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

CUDA = torch.device("cuda", 0)
OURS = ("caspl.", "trainers.", "tests.")


class Faker:
    """Replaces all tensors below an object, each by one fake tensor.

    Args:
        mode: in which the fake tensors live.
        device: where they seem to be.
    """

    def __init__(self, mode: FakeTensorMode, device: torch.device) -> None:
        self.mode, self.device = mode, device
        self.seen: dict[int, Any] = {}
        self.kept: list[Any] = []  # ids stay theirs while they live

    def __call__(self, value: Any) -> Any:
        """The value itself with fake tensors in it, or in a tensor's place a fake one."""
        if id(value) in self.seen:
            return self.seen[id(value)]
        self.kept.append(value)
        self.seen[id(value)] = value
        if isinstance(value, Tensor):
            self.seen[id(value)] = self.tensor(value)
        elif isinstance(value, dict):
            for key, item in value.items():
                value[key] = self(item)
        elif isinstance(value, list):
            value[:] = [self(item) for item in value]
        elif type(value) is tuple:
            self.seen[id(value)] = tuple(self(item) for item in value)
        elif isinstance(value, nn.Module) or type(value).__module__.startswith(OURS):
            self(getattr(value, "__dict__", {}))
        return self.seen[id(value)]

    def tensor(self, value: Tensor) -> Tensor:
        """A fake tensor of the same shape and type."""
        with self.mode:
            made = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=self.device)
            return nn.Parameter(made, value.requires_grad) if isinstance(value, nn.Parameter) else made
