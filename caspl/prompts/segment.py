"""A segment: the tokens that one prompt puts into one tower.

Boosting and adapting tokens (CasPL, arXiv 2409.17805, section 3) are two segments of this one kind. They differ
in where their values come from and in whether they train, never in how a tower treats them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from caspl.towers.block import NormPair
    from caspl.towers.text import TextTower

KINDS: dict[str, type[AnySegment]] = {}
"""Kinds of segments by the name that descriptions call them."""


class AnySegment(nn.Module):
    """What a cascade asks of a segment, whatever its tokens are made from.

    In layer 0 the tokens enter the sequence. Before each of the layers 1..depth-1 the segment drops
    :meth:`removed` tokens from its end, carries the others, and adds that layer's :meth:`tokens`. From layer
    ``depth`` on all of its tokens flow on.

    A class that says its ``kind`` can be built again from a checkpoint alone::

        class Mine(Segment, kind="mine"): ...

    Args:
        name: how state files call it, e.g. ``boosting`` or ``adapting``; given by who builds a cascade, and the only
            one of that name in its tower.
    """

    kind: ClassVar[str]
    conditional = False  # whether the tokens depend on the image
    samples = 0  # of the tokens, where they are drawn; all of them are run
    differs = False  # whether they become each class's own at an inner layer

    def __init_subclass__(cls, kind: str = "", **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.kind = kind or cls.__qualname__  # never its parent's: it may be something else
        if kind:
            KINDS[kind] = cls

    def __init__(self, name: str) -> None:
        super().__init__()
        if not name.isidentifier():
            raise ValueError(f"a segment's name is a word, not {name!r}")
        self.name = name

    def describe(self) -> dict[str, Any]:
        """What :meth:`of` needs, as plain JSON; no values."""
        return {"kind": self.kind}

    @classmethod
    def of(cls, name: str, said: Mapping[str, Any], sources: Mapping[str, AnySegment]) -> AnySegment:
        """A segment as :meth:`describe` said it, its values to be loaded.

        Args:
            name: its name.
            said: the description.
            sources: segments of the text tower, for those that are made from them.
        """
        raise NotImplementedError

    @property
    def depth(self) -> int:
        """Number of layers that get fresh tokens, counted from layer 0."""
        raise NotImplementedError

    @property
    def length(self) -> int:
        """Tokens in layer 0."""
        raise NotImplementedError

    def tokens(self, layer: int, condition: Tensor | None = None) -> Tensor:
        """Fresh tokens of a layer < depth: (length, width), or (n, length, width) where they differ.

        Args:
            layer: counted from 0.
            condition: normalised image features (groups, embed_dim), for segments that depend on the image.
        """
        raise NotImplementedError

    def all_tokens(self) -> list[Tensor]:
        """Those of each layer < depth, for segments that no image changes."""
        return [self.tokens(layer) for layer in range(self.depth)]

    def renews(self, layer: int) -> bool:
        """Whether a layer of the text tower gets fresh tokens."""
        return layer < self.depth

    @property
    def class_specific(self) -> bool:
        """Whether every class has its own tokens."""
        return False

    @property
    def pairs(self) -> Sequence[NormPair]:
        """In the image tower: norms in the place of the blocks' own, one pair a block; by default none."""
        return ()

    def finish(self, features: Tensor) -> Tensor:
        """What becomes of the tower's features (..., embed_dim) before they are normalised; by default nothing."""
        return features

    def widened(self, width: int) -> int:
        """How many features :meth:`finish` makes of so many.

        Raises:
            ValueError: it takes another number of them.
        """
        return width

    def fixed(self) -> AnySegment:
        """What it is now, as values; later training does not change it."""
        return Fixed(self)

    def set_classes(self, classnames: Sequence[str], tower: TextTower) -> None:
        """In the text tower: what the classes are from now on, for segments that are made of them."""

    def removed(self, layer: int) -> int:
        """Tokens dropped from the end before a layer of 1..depth-1; by default all of them are renewed."""
        return self.length

    def length_at(self, layer: int) -> int:
        """Tokens in the sequence while a layer runs."""
        return self.length


class Segment(AnySegment, kind="tokens"):
    """Tokens of its own, all renewed in every layer of its depth (VPT, arXiv 2203.12119; IVLP, arXiv 2210.03117).

    Args:
        name: see :class:`AnySegment`.
        tokens: initial values, (depth, length, width); class-specific: (1, classes, length, width).
        trainable: whether the tokens receive gradients.
    """

    def __init__(self, name: str, tokens: Tensor, trainable: bool = True) -> None:
        super().__init__(name)
        if tokens.dim() not in (3, 4) or 0 in tokens.shape:
            raise ValueError(
                f"segment {name!r}: tokens must be (depth, [classes,] length, width), not {tuple(tokens.shape)}"
            )
        if tokens.dim() == 4 and tokens.shape[0] != 1:
            raise ValueError(f"segment {name!r}: class-specific tokens have depth 1, not {tokens.shape[0]}")
        self.values = nn.Parameter(tokens.detach().float().clone(), requires_grad=trainable)

    @property
    def depth(self) -> int:
        return self.values.shape[0]

    @property
    def length(self) -> int:
        return self.values.shape[-2]

    @property
    def width(self) -> int:
        """Width of a token."""
        return self.values.shape[-1]

    @property
    def class_specific(self) -> bool:
        return self.values.dim() == 4

    def tokens(self, layer: int, condition: Tensor | None = None) -> Tensor:
        return self.values[layer]

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"shape": list(self.values.shape), "trainable": self.values.requires_grad}

    @classmethod
    def of(cls, name: str, said: Mapping[str, Any], sources: Mapping[str, AnySegment]) -> AnySegment:
        return cls(name, torch.empty([int(size) for size in said["shape"]]), bool(said["trainable"]))

    def extra_repr(self) -> str:
        return f"{self.name}: {self.length} tokens x {self.depth} layers, trainable={self.values.requires_grad}"


class Fixed(AnySegment):
    """The tokens that another segment has now, as values: nothing is computed any more.

    Args:
        segment: one that does not depend on the image.
    """

    def __init__(self, segment: AnySegment) -> None:
        super().__init__(segment.name)
        self._depth = segment.depth
        self._removed = [0, *(segment.removed(layer) for layer in range(1, segment.depth))]
        self._lengths = [segment.length_at(layer) for layer in range(segment.depth)]
        for layer, tokens in enumerate(segment.all_tokens()):
            self.register_buffer(f"layer_{layer}", tokens.detach().clone())

    @classmethod
    def of_values(cls, said: Mapping[str, Any], layers: Sequence[Tensor]) -> Fixed:
        """Of values that were kept.

        Args:
            said: as :meth:`describe_sizes`.
            layers: fresh tokens (length, width) of each layer of its depth.
        """
        made = cls.__new__(cls)
        AnySegment.__init__(made, str(said["name"]))
        made._depth = len(layers)
        made._removed, made._lengths = ([int(number) for number in said[key]] for key in ("removed", "lengths"))
        if not len(made._removed) == len(made._lengths) == len(layers) or min(*made._removed, *made._lengths) < 0:
            raise ValueError(f"segment {made.name!r} has sizes for other layers than it has tokens in")
        for layer, tokens in enumerate(layers):
            made.register_buffer(f"layer_{layer}", tokens.float())
        return made

    def describe_sizes(self) -> dict[str, Any]:
        """Its name, and the tokens removed and held in each layer of its depth, as plain JSON."""
        return {"name": self.name, "removed": self._removed, "lengths": self._lengths}

    @property
    def depth(self) -> int:
        return self._depth

    @property
    def length(self) -> int:
        return self._lengths[0]

    def tokens(self, layer: int, condition: Tensor | None = None) -> Tensor:
        return self.get_buffer(f"layer_{layer}")

    def removed(self, layer: int) -> int:
        return self._removed[layer]

    def length_at(self, layer: int) -> int:
        return self._lengths[min(layer, self._depth - 1)]


def by_name(segments: Iterable[AnySegment]) -> dict[str, AnySegment]:
    """Segments by name.

    Raises:
        ValueError: if two have the same name: one of them would neither train nor be saved.
    """
    found: dict[str, AnySegment] = {}
    for segment in segments:
        if found.setdefault(segment.name, segment) is not segment:
            raise ValueError(f"two segments of a tower are called {segment.name!r}: give each a name of its own")
    return found
