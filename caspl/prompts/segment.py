"""A segment: the tokens that one prompt puts into one tower.

Boosting and adapting tokens (CasPL, arXiv 2409.17805, section 3) are two segments of this one kind. They differ
in where their values come from and in whether they train, never in how a tower treats them.
"""

from __future__ import annotations

from torch import Tensor, nn


class AnySegment(nn.Module):
    """What a cascade asks of a segment, whatever its tokens are made from.

    In layer 0 the tokens enter the sequence. Before each of the layers 1..depth-1 the segment drops
    :meth:`removed` tokens from its end, carries the others, and adds that layer's :meth:`tokens`. From layer
    ``depth`` on all of its tokens flow on.

    Args:
        name: how state files call it, e.g. ``boosting`` or ``adapting``.
    """

    conditional = False  # whether the tokens depend on the image

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

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

    def removed(self, layer: int) -> int:
        """Tokens dropped from the end before a layer of 1..depth-1; by default all of them are renewed."""
        return self.length

    def length_at(self, layer: int) -> int:
        """Tokens in the sequence while a layer runs."""
        return self.length


class Segment(AnySegment):
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
        """Whether every class has its own tokens."""
        return self.values.dim() == 4

    def tokens(self, layer: int, condition: Tensor | None = None) -> Tensor:
        return self.values[layer]

    def extra_repr(self) -> str:
        return f"{self.name}: {self.length} tokens x {self.depth} layers, trainable={self.values.requires_grad}"
