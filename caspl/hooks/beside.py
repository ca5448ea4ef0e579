"""What travels beside the tokens of a block: attention that it returns, a bias that it takes, masks, indices by place.

A tensor with an axis as long as the sequence says something of every place in it. Where boosting tokens go into the
sequence it gets places for them, and where they are taken out it loses them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caspl.errors import CasPLError


@dataclass(frozen=True)
class Places:
    """Where the boosting tokens stand in a sequence.

    Args:
        name: of the tower, for sentences.
        start, length: of the tokens.
        outside, inside: the length of the sequence around a block, and within it.
        others: the length of the sequence's other axis, the batch.
        text: as many places within as around: what is behind all end tokens makes room.
    """

    name: str
    start: int
    length: int
    outside: int
    inside: int
    others: int
    text: bool

    def entering(self, value: Tensor) -> Tensor:
        """A tensor as a block gets it: nothing is said of the tokens' places (0), the rest keeps to its tokens.

        Raises:
            CasPLError: if it is not known what holds for the boosting tokens.
        """
        axes = self._axes(value, self.outside)
        if self.text and len(axes) > 1:
            if not _causal(value, axes[-2:]):
                raise CasPLError(
                    f"a block of {self.name} takes a tensor of shape {tuple(value.shape)} beside its tokens, a bias "
                    "between positions that is not the causal mask: what holds for the boosting tokens is unknown; "
                    "leave the text plain with caspl.plugin.cascade(..., text=False)"
                )
            return value
        for axis in axes:
            kept = self.outside - self.length if self.text else self.outside
            none = torch.zeros_like(value.narrow(axis, 0, 1)).expand(_resized(value, axis, self.length))
            if value.dtype != torch.bool and not value.is_floating_point() and not value.is_complex():
                raise CasPLError(
                    f"a block of {self.name} takes integers of shape {tuple(value.shape)} beside its tokens, one a "
                    "place: what they are for the boosting tokens is unknown, so that it cannot be cascaded by hooks"
                )
            parts = [value.narrow(axis, 0, self.start), none, value.narrow(axis, self.start, kept - self.start)]
            value = torch.cat(parts, dim=axis)
        return value

    def leaving(self, value: Tensor) -> Tensor:
        """A tensor as it is around a block: without the tokens' places."""
        for axis in self._axes(value, self.inside):
            behind = self.start + self.length
            parts = [value.narrow(axis, 0, self.start), value.narrow(axis, behind, self.inside - behind)]
            if self.text:
                parts.append(torch.zeros_like(value.narrow(axis, self.start, self.length)))
            value = torch.cat(parts, dim=axis)
        return value

    def _axes(self, value: Tensor, length: int) -> list[int]:
        axes = [axis for axis, count in enumerate(value.shape) if count == length]
        if axes and length == self.others:
            raise CasPLError(
                f"a block of {self.name} takes or gives a tensor of shape {tuple(value.shape)} beside its tokens, and "
                f"both the batch and the sequence have length {length}: which is meant is unknown; change the batch"
            )
        return axes


def each_tensor(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nest of lists, tuples and mappings, with its tensors changed; what holds none that changes stays it."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        made = {key: each_tensor(item, change) for key, item in value.items()}
        return value if all(made[key] is item for key, item in value.items()) else made
    if type(value) in (list, tuple):
        changed = [each_tensor(item, change) for item in value]
        same = all(one is other for one, other in zip(changed, value, strict=True))
        return value if same else type(value)(changed)
    return value


def _resized(value: Tensor, axis: int, length: int) -> list[int]:
    return [length if i == axis else count for i, count in enumerate(value.shape)]


def _causal(value: Tensor, axes: list[int]) -> bool:
    """Whether a square in a tensor lets each place see those up to itself alone, and all of them alike."""
    if axes != [value.dim() - 2, value.dim() - 1]:
        return False
    behind = torch.ones(value.shape[-2:], dtype=torch.bool, device=value.device).triu(1)
    if value.dtype == torch.bool:
        return bool((value == behind).all() or (value == ~behind).all())
    return bool((value[..., ~behind] == 0).all() and (value[..., behind] < -1e4).all())
