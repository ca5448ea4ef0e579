"""Tokens that are drawn from a learned normal distribution (Bayesian Prompt Learning, arXiv 2210.02390)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from caspl.prompts.segment import AnySegment, Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from caspl.towers.text import TextTower

EVALUATED = 0
"""Seed of the numbers that evaluation takes, so that it gives the same each time."""


class Constant(nn.Module):
    """A row (1, width) that no image changes.

    Args:
        values: its start.
    """

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self, condition: Tensor | None) -> Tensor:
        return self.values


def net(embed_dim: int, width: int) -> nn.Sequential:
    """Image features (batch, embed_dim) -> rows (batch, width)."""
    hidden = max(1, embed_dim // 2)
    layers = [nn.Linear(embed_dim, hidden), nn.ELU(), nn.Linear(hidden, hidden), nn.ELU(), nn.Linear(hidden, width)]
    return nn.Sequential(*layers)


class Sampled(Segment, kind="sampled"):
    """Tokens that are all shifted by one vector, in several samples: mean + noise * exp(log variance / 2).

    In training the noise is what is written into ``drawn`` before the step, in evaluation it is always the same.

    Args:
        name, tokens: see :class:`Segment`; one layer.
        samples: how many.
        embed_dim: width of the image features from which nets make mean and log variance; 0: they are one for all.
    """

    drawn: Tensor  # (samples, 1, width), in training
    noise: Tensor  # likewise in evaluation

    def __init__(self, name: str, tokens: Tensor, samples: int, embed_dim: int = 0) -> None:
        super().__init__(name, tokens)
        if self.class_specific or self.depth != 1 or samples < 1:
            raise ValueError(f"segment {name!r}: sampled tokens have one layer, are no class's own and at least one")
        self.samples, self._embed_dim = samples, embed_dim
        self.conditional = embed_dim > 0
        self.mean: nn.Module
        self.log_variance: nn.Module
        if self.conditional:
            self.mean, self.log_variance = net(embed_dim, self.width), net(embed_dim, self.width)
        else:
            self.mean = Constant(torch.zeros(1, self.width))
            self.log_variance = Constant(torch.rand(1, self.width))

    def tokens(self, layer: int, condition: Tensor | None = None) -> Tensor:
        """(images * samples, length, width), or (samples, length, width) where no image changes them."""
        mean, deviation = self.mean(condition), (self.log_variance(condition).float() / 2).exp()
        noise = (self.drawn if self.training else self.noise).squeeze(1)
        shift = mean.unsqueeze(1) + noise * deviation.unsqueeze(1)
        return (self.values[layer] + shift.unsqueeze(2)).flatten(0, 1)

    def divergence(self, condition: Tensor) -> Tensor:
        """KL from a standard normal, a mean over images and over the width.

        Args:
            condition: normalised image features (batch, embed_dim).
        """
        mean, log_variance = self.mean(condition).float(), self.log_variance(condition).float()
        return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).mean()

    def set_classes(self, classnames: Sequence[str], tower: TextTower) -> None:
        if not hasattr(self, "noise"):
            generator = torch.Generator().manual_seed(EVALUATED)
            noise = torch.randn(self.samples, 1, self.width, generator=generator)
            self.register_buffer("noise", noise.to(tower.positional_embedding.device), persistent=False)
            self.register_buffer("drawn", torch.zeros_like(self.noise), persistent=False)

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"samples": self.samples, "embed_dim": self._embed_dim}

    @classmethod
    def of(cls, name: str, said: Mapping[str, Any], sources: Mapping[str, AnySegment]) -> AnySegment:
        tokens = torch.empty([int(size) for size in said["shape"]])
        return cls(name, tokens, int(said["samples"]), int(said["embed_dim"]))
