"""Image tokens that are made layer by layer from those of the layer before and from text tokens (COMMA)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from caspl.prompts.coupling import FromTokens
from caspl.prompts.segment import AnySegment, Segment


class Generator(nn.Module):
    """One layer's net: the image tokens ask, the projected text tokens answer, and a narrow MLP follows.

    Args:
        source, width: of the text tokens and of the image tokens.
        reduction: the MLP's hidden layer is ``width // reduction`` wide.
    """

    def __init__(self, source: int, width: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = max(1, width // reduction)
        self.fc = nn.Linear(source, width)
        self.ln = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        """Image tokens (length, width) of the next layer, of those and the text tokens (length, source) of this one."""
        keys = self.fc(text)
        weights = (image @ keys.t() / math.sqrt(keys.shape[-1])).softmax(dim=-1)
        return self.mlp(self.ln(weights @ keys))


class Generated(FromTokens, kind="generated"):
    """COMMA's image tokens: layer 0 has a linear image of the text tokens, every later layer what its net makes.

    Args:
        name, source, width, layers: see :class:`FromTokens`.
        learned: whether the nets learn, and gradients pass through them; else they stay as drawn (the release).
    """

    def __init__(self, name: str, source: Segment, width: int, layers: int, learned: bool = True) -> None:
        super().__init__(name, source, width, layers)
        self._learned = learned
        self.nets = nn.ModuleList(Generator(source.width, width) for _ in range(self.depth - 1))
        self.nets.requires_grad_(learned)

    def tokens(self, layer: int, condition: Tensor | None = None) -> Tensor:
        return self.all_tokens()[layer]

    def all_tokens(self) -> list[Tensor]:
        source = self._source[0]
        made = [self.first(source.tokens(0))]
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._learned):
            for layer, net in enumerate(self.nets):
                made.append(net(made[-1], source.tokens(layer)))
        return made

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"learned": self._learned}

    @classmethod
    def of(cls, name: str, said: Mapping[str, Any], sources: Mapping[str, AnySegment]) -> AnySegment:
        return cls(name, cls.source_of(said, sources), int(said["width"]), int(said["layers"]), bool(said["learned"]))
