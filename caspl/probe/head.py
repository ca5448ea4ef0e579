"""What stands behind the image tower: features in, logits out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn


class Head(nn.Module):
    """Logits of image features. Its tensors are saved with the segments, under ``head.``."""

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
