"""What brings the features of an image tower into the space of another model's (PromptKD, arXiv 2403.02781)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.batch_norm import BatchNorm
from caspl.group import Group
from caspl.prompts.beside import Beside
from caspl.prompts.segment import AnySegment


class Projector(Beside, kind="projector"):
    """Two linear layers with batch normalisation and ReLU between them, in float32 whatever the towers compute in.

    Args:
        name: see :class:`AnySegment`.
        given, wanted: widths of the features that come and go.
        group: of the processes that have each batch together.
    """

    def __init__(self, name: str, given: int, wanted: int, group: Group | None = None) -> None:
        super().__init__(name)
        self.first, self.norm = nn.Linear(given, wanted), BatchNorm(wanted, group)
        self.last = nn.Linear(wanted, wanted)

    def finish(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return self.last(F.relu(self.norm(self.first(features.float()))))

    def widened(self, width: int) -> int:
        if width != self.first.in_features:
            raise ValueError(f"{self.name!r} takes {self.first.in_features} features, not {width}")
        return self.last.out_features

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"given": self.first.in_features, "wanted": self.last.out_features}

    @classmethod
    def of(cls, name: str, said: Mapping[str, Any], sources: Mapping[str, AnySegment]) -> AnySegment:
        return cls(name, int(said["given"]), int(said["wanted"]))
