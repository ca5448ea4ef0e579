"""What stands behind the image tower: features in, logits out."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

HEADS: dict[str, type[Head]] = {}
"""Kinds of heads by the name that checkpoints call them."""


class Head(nn.Module):
    """Logits of image features. Its tensors are saved with the segments, under ``head.``.

    A class that says its ``kind`` can be built again from a checkpoint alone.
    """

    kind: ClassVar[str] = ""

    def __init_subclass__(cls, kind: str = "", **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.kind = kind
        if kind:
            HEADS[kind] = cls

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], scale: float) -> Head:
        """What a checkpoint holds.

        Args:
            tensors: by name.
            scale: of the zero-shot cosines.

        Raises:
            KeyError, ValueError: they are not those of such a head, or do not fit each other.
        """
        raise NotImplementedError

    @property
    def classes(self) -> int:
        """How many it knows."""
        raise NotImplementedError

    @property
    def width(self) -> int:
        """Of the features."""
        raise NotImplementedError

    def only(self, classes: Sequence[int]) -> Head:
        """A head of some of its classes, by their places; this one stays."""
        made = copy.deepcopy(self)
        made.take(self.state_dict(), classes, self.classes)
        return made

    def forward(self, features: Tensor) -> Tensor:
        """Features (batch, embed_dim), not normalised -> logits (batch, classes), float32."""
        raise NotImplementedError

    def take(self, tensors: Mapping[str, Tensor], classes: Sequence[int], known: int) -> None:
        """Become what a checkpoint holds, for some of its classes.

        Args:
            tensors: of a head of this kind, by name.
            classes: the place of each class of this run among those of the checkpoint.
            known: how many those are.

        Raises:
            ValueError: the tensors do not fit each other, or the tower.
        """
        raise NotImplementedError


def require_shapes(tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse tensors of other shapes.

    Raises:
        ValueError: naming one, and both shapes.
    """
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != shape:
            raise ValueError(f"{name} is of shape {tuple(tensors[name].shape)}, not {shape}")
