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
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from caspl.errors import CasPLError
from caspl.hooks.beside import Places, each_tensor
from caspl.hooks.following import Watch
from caspl.hooks.foreign import ForeignTower
from caspl.prompts import Segment


def insert(tower: ForeignTower, segment: Segment, start: int | None = None, padding: Tensor | None = None) -> Insertion:
    """Let a segment's tokens take part in a tower, for good; arguments as in :class:`Insertion`."""
    insertion = Insertion(tower, segment, start, padding)
    for layer, block in enumerate(tower.blocks):
        block.register_forward_pre_hook(partial(insertion.enter, layer), with_kwargs=True)
        # First of all: hooks that the code base has on its blocks see what they are used to.
        block.register_forward_hook(partial(insertion.leave, layer), prepend=True)
    return insertion


@dataclass
class _Pass:
    """One pass through the blocks, of one thread: data parallelism runs its copies side by side.

    Args:
        start: where the tokens go in, if that is known of this pass alone.
        grown: by how many tokens, put in before them, the blocks of a text tower have made the sequence longer.
        flowing: what the last block has put out in their place.
        places: where they stand in the block that runs.
        beside: tensors that travel beside, as the block got them and as they were, by identity.
        watch: looks where a block puts them, in its first pass.
    """

    start: int | None = None
    grown: int = 0
    flowing: Tensor | None = None
    places: Places | None = None
    beside: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    watch: Watch | None = None


class Insertion:
    """The boosting tokens of one tower, at its blocks.

    Args:
        tower: where they go.
        segment: the tokens; those of layer 0 enter, layers up to its depth renew them, later ones let them flow.
        start: place in the sequence; None is the middle of the patches, and in text what each pass says.
        padding: embedding of the padding token, where it is not known beforehand that all end tokens keep their place
            in the text: the first pass then looks.
    """

    def __init__(
        self, tower: ForeignTower, segment: Segment, start: int | None = None, padding: Tensor | None = None
    ) -> None:
        self.name = str(tower)
        self.kind = tower.kind
        self.ran = False
        self.unknown = ""  # why the place is not known, where none of the texts says it
        self.half = False
        self.segment = segment
        self._text = tower.kind == "text"
        self._position = tower.positional_embedding
        self.start = (self._position.shape[0] + 1) // 2 if start is None and not self._text else start
        self._padding = padding
        self._norm = tower.norm
        self._last = len(tower.blocks) - 1
        self.hooked = frozenset(map(id, tower.blocks))
        self._declared_axis = _declared_axis(tower.blocks[0])
        self._axis: int | None = None
        self._passes: dict[int, _Pass] = {}
        # By layer and length of the sequence around it: how far a block moves the tokens, and by how much it grows.
        self._moves: dict[tuple[int, int], tuple[int, int]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_passes": {}}

    def begin(self, start: int) -> None:
        """Say where the tokens go in the next pass of this thread."""
        if self.start is not None and start != self.start:
            self.start = None  # no place holds for every pass: none may be assumed where a block runs by itself
        self._passes[threading.get_ident()] = _Pass(start)

    def enter(self, layer: int, block: nn.Module, args: tuple[Any, ...], kwargs: Any) -> Any:
        """Forward pre-hook of a block: its arguments, with the tokens among them."""
        x, beside, rebuild = self._take(args, block)
        axis, now = self._axis_of(x), self._pass(layer)
        start = now.start if now.start is not None else self.start
        if start is None:
            raise CasPLError(
                self.unknown
                or f"{self.name} runs on texts whose token ids are not passed to it, and several texts of the classes "
                "have the name at different positions: say which place is meant with "
                "caspl.plugin.cascade(..., class_start=...), or leave the text plain with text=False"
            )
        if layer < self.segment.depth:
            tokens = self._fresh(layer, x.dtype, start).unsqueeze(1 - axis)
            tokens = tokens.expand(*(-1 if i == axis else n for i, n in enumerate(x.shape))).to(x)
        else:
            tokens = self._flown(now)
        start += now.grown
        head, tail = self._around(x, axis, start, now.grown, layer == 0)
        length = x.shape[axis]
        inside = length if self._text else length + self.segment.length
        now.places = Places(self.name, start, self.segment.length, length, inside, x.shape[1 - axis], self._text)
        now.beside = {}

        def change(value: Tensor) -> Tensor:
            made = now.places.entering(value)  # type: ignore[union-attr]
            now.beside[id(made)] = (made, value)
            return made

        beside, kwargs = each_tensor((beside, kwargs), change)
        if (layer, length) not in self._moves:
            now.watch = Watch(block, tokens, axis, start)
        self.ran = True
        self.half = x.dtype in (torch.float16, torch.bfloat16) or torch.is_autocast_enabled(x.device.type)
        return rebuild(torch.cat([head, tokens, tail], dim=axis), beside), kwargs

    def leave(self, layer: int, block: nn.Module, args: Any, output: Any) -> Any:
        """Forward hook of a block: its output, without the tokens."""
        x, beside, rebuild = self._take((output,), block)
        axis, now = self._axis_of(x), self._passes[threading.get_ident()]
        places = self._after(layer, x.shape[axis], now)
        length = places.length
        head, tokens, tail = x.split([places.start, length, x.shape[axis] - places.start - length], dim=axis)
        parts = [head, tail]
        if self._text:  # behind all end tokens, where nothing is read: any finite values do
            parts.append(torch.zeros_like(tokens))

        def change(value: Tensor) -> Tensor:
            return now.beside[id(value)][1] if id(value) in now.beside else places.leaving(value)

        beside = each_tensor(beside, change)
        now.beside = {}
        if self._text:  # among patches no place is kept
            now.grown += places.inside - now.places.inside  # type: ignore[union-attr]
        now.flowing = tokens if self.segment.depth <= layer + 1 <= self._last else None
        if layer == self._last:
            self._passes.pop(threading.get_ident(), None)
        return rebuild(torch.cat(parts, dim=axis), beside)[0]

    def _pass(self, layer: int) -> _Pass:
        """That of this thread; at the first block a new one, unless its place was said just before."""
        thread = threading.get_ident()
        now = self._passes.get(thread)
        if now is not None and now.watch is not None:
            now.watch.end()  # of a pass that was broken off
            now.watch = None
        if now is None or (layer == 0 and now.places is not None):
            now = self._passes[thread] = _Pass()
        return now

    def _after(self, layer: int, inside: int, now: _Pass) -> Places:
        """Where the tokens stand behind a block, and how long the sequence is there.

        Raises:
            CasPLError: if the block has put in or taken out others, so that their place is not known.
        """
        before = now.places
        assert before is not None
        key, growth = (layer, before.outside), inside - before.inside
        if now.watch is not None:
            seen, now.watch = now.watch.end(), None
            # Not seen, in a block that keeps the length: it reads them through something else first.
            if seen is not None or not growth:
                self._moves[key] = ((before.start if seen is None else seen) - before.start, growth)
        move, expected = self._moves.get(key, (0, 0))
        if growth != expected or (self._text and move != growth):  # in text they stay directly before the name
            raise CasPLError(
                f"block {layer} of {self.name} takes {before.inside} tokens and gives {inside}, or moves them: where "
                "the boosting tokens then stand is not known, so that this tower cannot be cascaded by hooks"
                + ("; leave the text plain with caspl.plugin.cascade(..., text=False)" if self._text else "")
            )
        return replace(before, start=before.start + move, inside=inside)

    def _fresh(self, layer: int, dtype: torch.dtype, start: int) -> Tensor:
        """The tokens of a layer, (length, width), as its block expects them."""
        tokens = self.segment.tokens(layer)
        if layer == 0 and self._text:
            tokens = tokens + self._position[start : start + tokens.shape[0]].to(tokens)
        elif layer == 0 and self._norm is not None:
            tokens = self._norm(tokens.to(dtype))
        return tokens

    def _flown(self, now: _Pass) -> Tensor:
        """What the block before has put out in the tokens' place."""
        if now.flowing is None:
            raise CasPLError(
                f"the blocks of {self.name} do not run one after the other (gradient checkpointing?): expected is one "
                f"pass through all of them, since the boosting tokens are renewed in {self.segment.depth} layers only"
            )
        return now.flowing

    def _around(self, x: Tensor, axis: int, start: int, grown: int, first: bool) -> tuple[Tensor, Tensor]:
        """What stands before and behind the tokens; in text as much is cut off the end as comes in."""
        length = x.shape[axis]
        if not self._text:
            return x.narrow(axis, 0, start), x.narrow(axis, start, length - start)
        if length != self._position.shape[0] + grown:
            raise CasPLError(
                f"{self.name} runs its blocks on {length} positions: expected are all {self._position.shape[0]} of its "
                "positional embedding"
            )
        kept = length - self.segment.length
        tail = x.narrow(axis, start, kept - start)
        if first:  # they move back: other positions
            self._require_padding(x.narrow(axis, kept, length - kept), axis, kept)
            shift = self._position[start + self.segment.length :].float() - self._position[start:kept].float()
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
                f"{self.name} gets texts of more than {kept} tokens, and {self.segment.length} boosting tokens go "
                f"before the class name, but it has {kept + self.segment.length} positions; shorten names or prompts"
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

    def _take(self, args: tuple[Any, ...], block: nn.Module) -> tuple[Tensor, Any, Any]:
        """The tokens among a block's arguments (a tensor, or the head of a list), the others, and how to put back."""
        first, *rest = args or (None,)
        if isinstance(first, Tensor) and first.dim() == 3:
            return first, rest, lambda x, others: (x, *others)
        if isinstance(first, list | tuple) and first and isinstance(first[0], Tensor) and first[0].dim() == 3:
            kind, inner = type(first), list(first[1:])
            return first[0], [inner, rest], lambda x, others: (kind([x, *others[0]]), *others[1])
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
