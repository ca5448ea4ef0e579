"""Tokens made from something else: from the image (CoCoOp), or from the tokens of the other tower (MaPLe, MPL)."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from caspl.errors import CasPLError
from caspl.prompts.segment import AnySegment, Segment


class ImageConditioned(Segment, kind="image_conditioned"):
    """Tokens that a small net shifts, all alike, by what the image shows (CoCoOp, arXiv 2203.05557, section 3.2).

    Args:
        name, tokens: see :class:`Segment`.
        embed_dim: width of the image features.
        reduction: the net's hidden layer is ``embed_dim // reduction`` wide.
    """

    conditional = True

    def __init__(self, name: str, tokens: Tensor, embed_dim: int, reduction: int = 16) -> None:
        super().__init__(name, tokens)
        if self.class_specific:
            raise ValueError(f"segment {name!r}: tokens that depend on the image cannot be class-specific too")
        self._embed_dim, self._reduction = embed_dim, reduction
        hidden = max(1, embed_dim // reduction)
        layers = {"linear1": nn.Linear(embed_dim, hidden), "relu": nn.ReLU(), "linear2": nn.Linear(hidden, self.width)}
        self.meta_net = nn.Sequential(OrderedDict(layers))

    def tokens(self, layer: int, condition: Tensor | None = None) -> Tensor:
        if condition is None:
            raise ValueError(f"segment {self.name!r} depends on the image: it needs its features")
        return self.values[layer] + self.meta_net(condition).unsqueeze(1)

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"embed_dim": self._embed_dim, "reduction": self._reduction}

    @classmethod
    def of(cls, name: str, said: Mapping[str, Any], sources: Mapping[str, AnySegment]) -> AnySegment:
        tokens = torch.empty([int(size) for size in said["shape"]])
        return cls(name, tokens, int(said["embed_dim"]), int(said["reduction"]))


class FromTokens(AnySegment):
    """What tokens that are made of another segment's have in common; gradients flow into those.

    Args:
        name: see :class:`AnySegment`.
        source: the segment that others are made of; it stays where it is and is not saved with this one.
        width, layers: of the tower that gets them.
    """

    def __init__(self, name: str, source: Segment, width: int, layers: int) -> None:
        super().__init__(name)
        self._source = (source,)  # in a tuple, so that it is not registered twice
        self._depth = min(source.depth, layers)
        self.first = nn.Linear(source.width, width)

    @property
    def depth(self) -> int:
        return self._depth

    @property
    def length(self) -> int:
        return self._source[0].length

    def describe(self) -> dict[str, Any]:
        sizes = {"width": self.first.out_features, "layers": self.depth}
        return super().describe() | {"source": self._source[0].name} | sizes

    @staticmethod
    def source_of(said: Mapping[str, Any], sources: Mapping[str, AnySegment]) -> Segment:
        """The source that a description names."""
        source = sources[said["source"]]
        if not isinstance(source, Segment):
            raise TypeError(f"{source.name} has no tokens to make others of")
        return source


class Coupled(FromTokens, kind="coupled"):
    """Linear images of another segment's tokens, with MPL's three operations: remove, carry, add.

    Layer 0 has the image of the source's first tokens. Before each later layer of its depth the newest
    ``remove`` tokens are dropped, the others carried, and ``add`` images of that layer's source tokens appended. With
    one image and all tokens removed this is MaPLe (arXiv 2210.03117, section 3.2); MPL (arXiv 2502.14125) lets the
    number grow by ``add * length - remove`` a layer.

    Args:
        name, source, width, layers: see :class:`FromTokens`.
        add: images of the source's tokens that a layer adds, one after the other.
        remove: tokens dropped, counted in tokens, not in images; None drops as many as layer 0 has. What exceeds the
            segment's own tokens is taken from the end of the patches, never from another segment.

    Raises:
        CasPLError: if a layer would drop more than the layer before added, or for a negative number.
    """

    def __init__(
        self, name: str, source: Segment, width: int, layers: int, add: int = 1, remove: int | None = None
    ) -> None:
        super().__init__(name, source, width, layers)
        self.add, self.remove = add, source.length if remove is None else remove
        if add < 1 or not 0 <= self.remove <= add * source.length:
            raise CasPLError(
                f"a layer adds {add} x {source.length} tokens and removes {self.remove}: add at least one, and remove "
                "no more than are added"
            )
        same = nn.Linear(source.width, width)  # one draw for all: the published methods start from equal projections
        self.deep = nn.ModuleList(
            nn.ModuleList(copy.deepcopy(same) for _ in range(self._depth - 1)) for _ in range(add)
        )

    def tokens(self, layer: int, condition: Tensor | None = None) -> Tensor:
        source = self._source[0].tokens(layer, condition)
        if layer == 0:
            return self.first(source)
        return torch.cat([images[layer - 1](source) for images in self.deep])  # type: ignore[index]

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"add": self.add, "remove": self.remove}

    @classmethod
    def of(cls, name: str, said: Mapping[str, Any], sources: Mapping[str, AnySegment]) -> AnySegment:
        return cls(
            name, cls.source_of(said, sources), *(int(said[key]) for key in ("width", "layers", "add", "remove"))
        )

    def removed(self, layer: int) -> int:
        return self.remove

    def length_at(self, layer: int) -> int:
        length = self.length
        for _ in range(min(layer, self.depth - 1)):
            length = max(length - self.remove, 0) + self.add * self.length
        return length
