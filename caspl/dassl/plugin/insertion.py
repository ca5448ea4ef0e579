"""Boosting tokens in a foreign tower: put into the sequence before each block, taken out again after it.

What surrounds the blocks never sees them, so that its end-token index, its causal mask and its own arithmetic on
tokens hold. A block that renews tokens of its own (IVLP, MaPLe, MPL) sees them between its first and its last tokens:

    text    [SOS][adapting][words that stay][boosting][class name][.][EOS]  (as many positions as before)
    vision  [CLS][first patches][boosting][other patches][adapting]

In text the tokens and all behind them get the positional embeddings of their new places, as in CasPL's release. In
vision no order is seen by attention, and tokens have no position: in the middle of the patches no arithmetic that
counts from the front or from the end touches them.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from caspl.dassl.plugin.foreign import ForeignTower
from caspl.errors import CasPLError
from caspl.prompts import Segment


def insert(tower: ForeignTower, segment: Segment, start: int | None = None, padding: Tensor | None = None) -> Insertion:
    """Let a segment's tokens take part in a tower, for good; arguments as in :class:`Insertion`."""
    insertion = Insertion(tower, segment, start, padding)
    for layer, block in enumerate(tower.blocks):
        block.register_forward_pre_hook(partial(insertion.enter, layer), with_kwargs=True)
        # First of all: hooks that the code base has on its blocks see what they are used to.
        block.register_forward_hook(partial(insertion.leave, layer), prepend=True)
    return insertion


class Insertion:
    """The boosting tokens of one tower, at its blocks.

    Args:
        tower: where they go.
        segment: the tokens; those of layer 0 enter, layers up to its depth renew them, later ones let them flow.
        start: place in the sequence; None is the middle of the patches.
        padding: embedding of the padding token, where it is not known beforehand that all end tokens keep their place
            in the text: the first pass then looks.
    """

    def __init__(
        self, tower: ForeignTower, segment: Segment, start: int | None = None, padding: Tensor | None = None
    ) -> None:
        self.name = str(tower)
        self.ran = False
        self._segment = segment
        self._text = tower.kind == "text"
        self._position = tower.positional_embedding
        self._start = (self._position.shape[0] + 1) // 2 if start is None else start
        self._padding = padding
        self._norm = getattr(tower.module, "ln_pre", None)
        self._last = len(tower.blocks) - 1
        self._declared_axis = _declared_axis(tower.blocks[0])
        self._axis: int | None = None
        # The outputs that flow on from block to block, one a thread: data parallelism runs its copies side by side.
        self._flowing: dict[int, Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_flowing": {}}

    def enter(self, layer: int, block: nn.Module, args: tuple[Any, ...], kwargs: Any) -> Any:
        """Forward pre-hook of a block: its arguments, with the tokens among them."""
        x, rebuild = self._take(args, block)
        axis = self._axis_of(x)
        if layer == 0:
            self._flowing.pop(threading.get_ident(), None)  # of a pass that was broken off
        if layer < self._segment.depth:
            tokens = self._fresh(layer, x.dtype).unsqueeze(1 - axis)
            tokens = tokens.expand(*(-1 if i == axis else n for i, n in enumerate(x.shape))).to(x)
        else:
            tokens = self._flown()
        head, tail = self._around(x, axis, layer == 0)
        self.ran = True
        return rebuild(torch.cat([head, tokens, tail], dim=axis)), kwargs

    def leave(self, layer: int, block: nn.Module, args: Any, output: Any) -> Any:
        """Forward hook of a block: its output, without the tokens."""
        x, rebuild = self._take((output,), block)
        axis = self._axis_of(x)
        length = self._segment.length
        head, tokens, tail = x.split([self._start, length, x.shape[axis] - self._start - length], dim=axis)
        parts = [head, tail]
        if self._text:  # behind all end tokens, where nothing is read: any finite values do
            parts.append(torch.zeros_like(tokens))
        if self._segment.depth <= layer + 1 <= self._last:
            self._flowing[threading.get_ident()] = tokens
        return rebuild(torch.cat(parts, dim=axis))[0]

    def _fresh(self, layer: int, dtype: torch.dtype) -> Tensor:
        """The tokens of a layer, (length, width), as its block expects them."""
        tokens = self._segment.tokens(layer)
        if layer == 0 and self._text:
            tokens = tokens + self._position[self._start : self._start + tokens.shape[0]].to(tokens)
        elif layer == 0 and self._norm is not None:
            tokens = self._norm(tokens.to(dtype))
        return tokens

    def _flown(self) -> Tensor:
        """What the block before has put out in the tokens' place."""
        try:
            return self._flowing.pop(threading.get_ident())
        except KeyError:
            raise CasPLError(
                f"the blocks of {self.name} do not run one after the other (gradient checkpointing?): expected is one "
                f"pass through all of them, since the boosting tokens are renewed in {self._segment.depth} layers only"
            ) from None

    def _around(self, x: Tensor, axis: int, first: bool) -> tuple[Tensor, Tensor]:
        """What stands before and behind the tokens; in text as much is cut off the end as comes in."""
        length, start = x.shape[axis], self._start
        if not self._text:
            return x.narrow(axis, 0, start), x.narrow(axis, start, length - start)
        if length != self._position.shape[0]:
            raise CasPLError(
                f"{self.name} runs its blocks on {length} positions: expected are all {self._position.shape[0]} of its "
                "positional embedding"
            )
        kept = length - self._segment.length
        tail = x.narrow(axis, start, kept - start)
        if first:  # they move back: other positions
            self._require_padding(x.narrow(axis, kept, length - kept), axis, kept)
            shift = self._position[start + self._segment.length :].float() - self._position[start:kept].float()
            tail = (tail.float() + shift.to(x.device).unsqueeze(1 - axis)).to(x.dtype)
        return x.narrow(axis, 0, start), tail

    def _require_padding(self, cut: Tensor, axis: int, kept: int) -> None:
        """Refuse, in the first pass, to cut off anything but padding."""
        if self._padding is None or self.ran:
            return
        padding = self._padding.to(cut.device)
        rows = cut.float() - self._position[kept:].float().to(cut.device).unsqueeze(1 - axis)
        if bool(((rows - padding).norm(dim=-1) > 0.5 * padding.norm()).any()):
            raise CasPLError(
                f"{self.name} gets texts of more than {kept} tokens, and {self._segment.length} boosting tokens go "
                f"before the class name, but it has {kept + self._segment.length} positions; shorten names or prompts"
            )

    def _axis_of(self, x: Tensor) -> int:
        """Which axis of a block's input the tokens are along, 0 or 1: asked in the first pass."""
        if self._axis is None:
            least = self._position.shape[0]
            fits = [axis for axis in (0, 1) if x.shape[axis] >= least and _starts_alike(x, axis)]
            if len(fits) == 2 and self._declared_axis is not None:
                fits = [self._declared_axis]
            if len(fits) != 1:
                raise CasPLError(
                    f"the first block of {self.name} gets a tensor of shape {tuple(x.shape)}: expected is one axis of "
                    f"at least {least} tokens, the first of which is the same in the whole batch"
                )
            self._axis = fits[0]
        return self._axis

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
