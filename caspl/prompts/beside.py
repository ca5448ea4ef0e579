"""What learns beside tokens: it puts none into its tower, and is trained, saved and described as a segment is."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from caspl.prompts.segment import AnySegment
from caspl.towers.block import LayerNorm, NormPair
from caspl.towers.vision import VisionTower


class Beside(AnySegment):
    """A segment of no tokens."""

    @property
    def depth(self) -> int:
        return 0

    @property
    def length(self) -> int:
        return 0

    def tokens(self, layer: int, condition: Tensor | None = None) -> Tensor:
        raise ValueError(f"{self.name!r} has no tokens")

    @torch.no_grad()
    def fixed(self) -> AnySegment:
        return copy.deepcopy(self).requires_grad_(False)


class Shift(Beside, kind="shift"):
    """One vector that is added to all features of a tower before they are normalised (LASP's correction).

    Args:
        name: see :class:`AnySegment`.
        width: of the features; it starts from zero.
    """

    def __init__(self, name: str, width: int) -> None:
        super().__init__(name)
        self.values = nn.Parameter(torch.zeros(1, width))

    def finish(self, features: Tensor) -> Tensor:
        return features.float() + self.values

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"width": self.values.shape[1]}

    @classmethod
    def of(cls, name: str, said: Mapping[str, Any], sources: Mapping[str, AnySegment]) -> AnySegment:
        return cls(name, int(said["width"]))


class Adapter(Beside, kind="adapter"):
    """A narrow net whose result replaces a part of all features of a tower before they are normalised (CoPrompt).

    Args:
        name: see :class:`AnySegment`.
        width: of the features.
        part: of the features that comes from the net, from 0 to 1.
        reduction: the net's hidden layer is ``width // reduction`` wide.
    """

    def __init__(self, name: str, width: int, part: float, reduction: int = 4) -> None:
        super().__init__(name)
        self._width, self._part, self._reduction = width, part, reduction
        hidden = max(1, width // reduction)
        layers = [nn.Linear(width, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, width, bias=False), nn.ReLU()]
        self.fc = nn.Sequential(*layers)

    def finish(self, features: Tensor) -> Tensor:
        features = features.float()
        return self._part * self.fc(features) + (1 - self._part) * features

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"width": self._width, "part": self._part, "reduction": self._reduction}

    @classmethod
    def of(cls, name: str, said: Mapping[str, Any], sources: Mapping[str, AnySegment]) -> AnySegment:
        return cls(name, int(said["width"]), float(said["part"]), int(said["reduction"]))


class Norms(Beside, kind="norms"):
    """Both layer norms of every block of the image tower, in the place of the tower's own, which stay (LASP).

    Args:
        name: see :class:`AnySegment`.
        layers, width: of the tower.
    """

    def __init__(self, name: str, layers: int, width: int) -> None:
        super().__init__(name)
        self._width = width
        self.blocks = nn.ModuleList(
            nn.ModuleDict({norm: LayerNorm(width) for norm in ("ln_1", "ln_2")}) for _ in range(layers)
        )

    @classmethod
    def like(cls, name: str, tower: VisionTower) -> Norms:
        """With the values that a tower has; it must not be folded."""
        made = cls(name, len(tower.transformer), tower.ln_pre.normalized_shape[0])
        for ours, block in zip(made.pairs, tower.transformer, strict=True):
            for norm, own in zip(ours, (block.ln_1, block.ln_2), strict=True):
                norm.load_state_dict(own.state_dict())
        return made

    @property
    def pairs(self) -> Sequence[NormPair]:
        return [(block["ln_1"], block["ln_2"]) for block in self.blocks]  # type: ignore[index]

    def merged(self) -> dict[str, Tensor]:
        """The weights under the names that the tower's own have."""
        return {f"transformer.resblocks.{name}": value for name, value in self.blocks.state_dict().items()}

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"layers": len(self.blocks), "width": self._width}

    @classmethod
    def of(cls, name: str, said: Mapping[str, Any], sources: Mapping[str, AnySegment]) -> AnySegment:
        return cls(name, int(said["layers"]), int(said["width"]))
