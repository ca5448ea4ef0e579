"""Boosting tokens in a foreign tower: put into the sequence before each block, taken out again after it.

What surrounds the blocks never sees them, so that its end-token index, its causal mask and its own arithmetic on
tokens hold. A block that renews tokens of its own (IVLP, MaPLe, MPL) sees them between its first and its last tokens:

    text    [SOS][adapting][words that stay][boosting][class name][.][EOS]  (as many positions as before)
    vision  [CLS][first patches][boosting][other patches][adapting]

In text the tokens and all behind them get the positional embeddings of their new places, as in CasPL's release. In
vision no order is seen by attention, and tokens have no position: in the middle no block's arithmetic, be it at
the front or at the end, touches them.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from caspl.errors import CasPLError
from caspl.plugin.foreign import ForeignTower
from caspl.prompts import Segment


def insert(tower: ForeignTower, segment: Segment, start: int | None = None) -> Insertion:
    """Let a segment's tokens take part in a tower, for good; arguments as in :class:`Insertion`."""
    insertion = Insertion(tower, segment, start)
    for layer, block in enumerate(tower.blocks):
        block.register_forward_pre_hook(partial(insertion.enter, layer), with_kwargs=True)
        block.register_forward_hook(partial(insertion.leave, layer))
    return insertion


class Insertion:
    """The boosting tokens of one tower, at its blocks.

    Args:
        tower: where they go.
        segment: the tokens; those of layer 0 enter, layers up to its depth renew them, later ones let them flow.
        start: place in the sequence; None is the middle.
    """

    def __init__(self, tower: ForeignTower, segment: Segment, start: int | None = None) -> None:
        self.name = str(tower)
        self._segment = segment
        self._start = start
        self._text = tower.kind == "text"
        self._position = tower.positional_embedding
        self._norm = getattr(tower.module, "ln_pre", None)
        self._last = len(tower.blocks) - 1
        self._known_axis = _declared_axis(tower.blocks[0])
        self._passes: dict[int, _Pass] = {}  # one a thread: data parallelism runs its copies side by side
        self.ran = False

    def enter(self, layer: int, block: nn.Module, args: tuple[Any, ...], kwargs: Any) -> Any:
        """Forward pre-hook of a block: its arguments, with the tokens among them."""
        x, rebuild = self._take(args, block)
        axis = self._axis(x)
        if layer == 0:
            self.ran = True
            self._passes[threading.get_ident()] = _Pass(x.shape[axis] // 2 if self._start is None else self._start)
        current = self._passes[threading.get_ident()]
        tokens = self._tokens(layer, x) if layer < self._segment.depth else current.tokens
        head, tail = self._split(x, axis, current.start, layer == 0)
        if tokens.dim() == 2:
            tokens = tokens.unsqueeze(1 - axis).expand(*(-1 if i == axis else n for i, n in enumerate(x.shape)))
        return rebuild(torch.cat([head, tokens.to(x), tail], dim=axis)), kwargs

    def leave(self, layer: int, block: nn.Module, args: Any, output: Any) -> Any:
        """Forward hook of a block: its output, without the tokens."""
        x, rebuild = self._take((output,), block)
        axis = self._axis(x)
        thread = threading.get_ident()
        start, length = self._passes[thread].start, self._segment.length
        head, tokens, tail = x.split([start, length, x.shape[axis] - start - length], dim=axis)
        parts = [head, tail]
        if self._text:  # behind all end tokens, where nothing is read: any finite values do
            parts.append(torch.zeros_like(tokens))
        if layer == self._last:
            del self._passes[thread]
        else:
            self._passes[thread] = _Pass(start, tokens)
        return rebuild(torch.cat(parts, dim=axis))[0]

    def _tokens(self, layer: int, x: Tensor) -> Tensor:
        """The fresh tokens of a layer, (length, width), as that block expects them."""
        tokens = self._segment.tokens(layer)
        if layer == 0 and self._text:
            assert self._start is not None
            tokens = tokens + self._position[self._start : self._start + len(tokens)].to(tokens)
        elif layer == 0 and self._norm is not None:
            tokens = self._norm(tokens.to(x.dtype))
        return tokens

    def _split(self, x: Tensor, axis: int, start: int, first: bool) -> tuple[Tensor, Tensor]:
        """What stands before and behind the tokens; in text as much is cut off the end as comes in."""
        length = x.shape[axis]
        if not self._text:
            return x.narrow(axis, 0, start), x.narrow(axis, start, length - start)
        if length != len(self._position):
            raise CasPLError(
                f"{self.name} runs its blocks on {length} positions: expected are all {len(self._position)} of its "
                "positional embedding"
            )
        kept = length - self._segment.length
        tail = x.narrow(axis, start, kept - start)
        if first:  # they move back: other positions
            shift = self._position[start + self._segment.length :].float() - self._position[start:kept].float()
            tail = (tail.float() + shift.to(x.device).unsqueeze(1 - axis)).to(x.dtype)
        return x.narrow(axis, 0, start), tail

    def _axis(self, x: Tensor) -> int:
        """Which axis of a block's input the tokens are along, 0 or 1; asked first in the first block."""
        if self._known_axis is None:
            positions = len(self._position)
            fits = [axis for axis in (0, 1) if x.shape[axis] >= positions and _starts_alike(x, axis)]
            if len(fits) != 1:
                raise CasPLError(
                    f"the first block of {self.name} gets a tensor of shape {tuple(x.shape)}: expected is one axis of "
                    f"at least {positions} tokens, the first of which is the same in the whole batch"
                )
            self._known_axis = fits[0]
        return self._known_axis

    def _take(self, args: tuple[Any, ...], block: nn.Module) -> tuple[Tensor, Any]:
        """The tokens among a block's arguments (a tensor, or the head of a list), and how to put others there."""
        first, *rest = args or (None,)
        if isinstance(first, Tensor) and first.dim() == 3:
            return first, lambda x: (x, *rest)
        if isinstance(first, list | tuple) and first and isinstance(first[0], Tensor) and first[0].dim() == 3:
            return first[0], lambda x: (type(first)([x, *first[1:]]), *rest)
        raise CasPLError(
            f"a block of {self.name} ({type(block).__name__}) takes or gives {_shown(first)}: expected is a tensor "
            "(tokens, batch, width) or (batch, tokens, width), or a list that begins with one"
        )


class _Pass:
    """What is remembered from block to block."""

    def __init__(self, start: int, tokens: Tensor | None = None) -> None:
        self.start = start
        self._tokens = tokens

    @property
    def tokens(self) -> Tensor:
        """The boosting tokens that the block before has given."""
        assert self._tokens is not None
        return self._tokens


def _declared_axis(block: nn.Module) -> int | None:
    """As the block's attention says; None if it is not torch's."""
    attention = next((module for module in block.modules() if isinstance(module, nn.MultiheadAttention)), None)
    return None if attention is None else int(attention.batch_first)


def _starts_alike(x: Tensor, axis: int) -> bool:
    """Whether the first row along an axis, CLS or SOS, is the same in the whole batch."""
    first = x.select(axis, 0)
    return bool(torch.allclose(first, first[:1].expand_as(first), rtol=1e-3, atol=1e-3))


def _shown(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
