"""Tokens that every class replaces by its own at one inner block (TCP)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.errors import CasPLError
from caspl.prompts.segment import AnySegment, Segment
from caspl.prompts.templates import checked
from caspl.prompts.text import plain_text
from caspl.towers.block import QuickGELU
from caspl.towers.text import TextTower


class ClassAware(Segment, kind="class_aware"):
    """Tokens that all classes share up to a block; from there on a net makes them of what CLIP says of each class.

    Args:
        name, tokens: see :class:`Segment`; one layer.
        embed_dim: width of CLIP's text features.
        layer: the block before which the tokens are replaced, counted from 0; at least 1.
        template: of the texts whose normalised features, of plain CLIP, the net is given.
        reduction: the net's hidden layer is ``embed_dim // reduction`` wide.
    """

    differs = True
    features: Tensor  # (classes, embed_dim)

    def __init__(
        self, name: str, tokens: Tensor, embed_dim: int, layer: int, template: str, reduction: int = 4
    ) -> None:
        super().__init__(name, tokens)
        if layer < 1 or self.depth != 1 or self.class_specific:
            raise CasPLError(f"class-aware tokens have one layer and are replaced before block 1 or later, not {layer}")
        self._embed_dim, self._layer, self._template, self._reduction = embed_dim, layer, checked(template), reduction
        hidden = max(1, embed_dim // reduction)
        layers = {"linear1": nn.Linear(embed_dim, hidden), "gelu": QuickGELU()}
        self.meta_net = nn.Sequential(OrderedDict(layers | {"linear2": nn.Linear(hidden, self.length * self.width)}))

    def renews(self, layer: int) -> bool:
        return layer in (0, self._layer)

    def tokens(self, layer: int, condition: Tensor | None = None) -> Tensor:
        if layer == 0:
            return self.values[0]
        return self.meta_net(self.features).unflatten(-1, (self.length, self.width))

    @torch.no_grad()
    def set_classes(self, classnames: Sequence[str], tower: TextTower) -> None:
        if self._layer >= len(tower.transformer):
            raise CasPLError(
                f"class-aware tokens are replaced before block {self._layer}, but the text tower has blocks "
                f"0 to {len(tower.transformer) - 1}"
            )
        text = plain_text(self._template)
        text.set_classes(classnames, tower)
        self.register_buffer("features", F.normalize(text(tower).float(), dim=-1), persistent=False)

    def describe(self) -> dict[str, Any]:
        own = {"layer": self._layer, "template": self._template, "reduction": self._reduction}
        return super().describe() | {"embed_dim": self._embed_dim} | own

    @classmethod
    def of(cls, name: str, said: Mapping[str, Any], sources: Mapping[str, AnySegment]) -> AnySegment:
        tokens = torch.empty([int(size) for size in said["shape"]])
        sizes = (int(said["embed_dim"]), int(said["layer"]))
        return cls(name, tokens, *sizes, str(said["template"]), int(said["reduction"]))
