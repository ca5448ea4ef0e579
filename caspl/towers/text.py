"""The text tower in two parts: the prefix that classes share, computed once, and what is each class's own.

CLIP's text tower is causal: what stands in front of the class words, ``[SOS][context]``, does not see them
and is the same for every class. So :meth:`TextTower.prefix` runs that part once (once per image if it depends on the
image) and leaves the keys and values of every layer; :meth:`TextTower.classes` runs each class's own part, which
attends to them. Positions after the longest end token are never computed. Both are exact, since no later position can
reach an earlier one.

No value of a tensor steers Python here, so that a pass can be exported and captured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from caspl.towers.block import LayerNorm, Memory, Transformer
from caspl.towers.sizes import Sizes

MOST_TEXTS = 4096  # that are run at a time where no gradients are wanted

TextRefresh = Callable[[int, Tensor], Tensor]
"""(layer, x (n, tokens, width)) -> x as that block shall see it. Called before every block with all of the prefix;
lengths must not change, for positions are fixed."""
OwnRefresh = Callable[[int, Tensor, slice], Tensor]
"""Likewise with the own positions of some of the classes, and which classes they are."""


class TextTower(nn.Module):
    """Embedded tokens -> feature at the end token. Parameters are named as in OpenAI's state dicts."""

    causal: Tensor

    def __init__(self, sizes: Sizes, activation: str = "quick_gelu") -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(sizes.vocabulary, sizes.text_width)
        self.positional_embedding = nn.Parameter(torch.empty(sizes.context_length, sizes.text_width))
        self.transformer = Transformer(sizes.text_width, sizes.text_layers, sizes.heads[1], activation)
        self.ln_final = LayerNorm(sizes.text_width)
        self.text_projection = nn.Parameter(torch.empty(sizes.text_width, sizes.embed_dim))
        self.register_buffer("causal", causal(sizes.context_length), persistent=False)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of what flows from block to block: the matrices', or float32 where autocast chooses theirs."""
        matrix = self.text_projection
        return torch.float32 if torch.is_autocast_enabled(matrix.device.type) else matrix.dtype

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids (..., tokens) -> embeddings (..., tokens, width), without positions."""
        return self.token_embedding(ids)

    def knows(self, ids: Sequence[int]) -> bool:
        """Whether any of these tokens has an embedding; the rows of words that a CLIP has never seen may be zero."""
        return bool(self.token_embedding.weight[list(ids)].any())

    def prefix(self, shared: Tensor, refresh: TextRefresh | None = None) -> list[Memory]:
        """Run the positions that classes share.

        Args:
            shared: (groups, P, width) embeddings of the positions 0..P-1, without positions. groups is 1, or one per
                image. With P = 0 there is nothing to remember.
            refresh: called before every block, see :data:`TextRefresh`.

        Returns:
            Keys and values of every layer.
        """
        length = shared.shape[1]
        if length == 0:
            return []
        x = (shared + self.positional_embedding[:length]).to(self.dtype)
        mask = self._mask(0, length)[:, :length]
        memories = []
        last = len(self.transformer) - 1
        for layer, block in enumerate(self.transformer):
            if refresh is not None:
                x = refresh(layer, x)
            if layer == last:  # its output is read by nothing
                memories.append(block.key_value(x))
            else:
                x, memory = block(x, mask=mask)
                memories.append(memory)
        return memories

    def classes(
        self,
        own: Tensor,
        end: Tensor,
        memories: Sequence[Memory],
        start: int,
        refresh: OwnRefresh | None = None,
        budget: int = 0,
        whole: bool = False,
    ) -> Tensor:
        """Run what is each class's own, up to its end token.

        Args:
            own: (classes, S, width) embeddings of the positions start..start+S-1, without positions, or
                (groups, classes, S, width) where they differ between the groups. S ends with the longest class.
            end: (classes,) index of the end token within ``own``.
            memories: what :meth:`prefix` returned.
            start: number of positions before ``own``.
            refresh: called before every block, see :data:`OwnRefresh`.
            budget: bytes that activations may take, about. As many classes as fit keep theirs; the others are run
                in chunks, and once more in the backward pass. 0: all are kept. Exact either way.
            whole: give the last block's outputs at all of these positions instead.

        Returns:
            (groups, classes, embed_dim), not normalised; with ``whole`` (groups, classes, S, width).
        """
        groups = memories[0].key.shape[0] if memories else 1
        if own.dim() == 3:
            own = own.unsqueeze(0).expand(groups, -1, -1, -1)
        groups, classes = own.shape[:2]
        if torch.is_grad_enabled():
            kept, size = self.kept(classes, self.bytes_of_class(own.shape[2], start) * groups, budget)
            again: Callable[..., Tensor] = partial(checkpoint, self._run, use_reentrant=False, preserve_rng_state=False)
        else:
            # In an exported program the number of images stays open: it bounds nothing, and nothing may depend on it.
            size = max(1, MOST_TEXTS if torch.compiler.is_compiling() else MOST_TEXTS // groups)
            kept, again = min(size, classes), self._run
        if kept == classes:
            return self._run(own, end, memories, start, refresh, slice(classes), whole)
        sizes = [kept, *[size] * ((classes - kept) // size), (classes - kept) % size]
        found, first = [], 0
        for number, (some, ends) in enumerate(zip(own.split(sizes, dim=1), end.split(sizes), strict=True)):
            if len(ends):
                run = again if number else self._run
                found.append(run(some, ends, memories, start, refresh, slice(first, first + len(ends)), whole))
            first += len(ends)
        return torch.cat(found, dim=1)

    def bytes_of_class(self, own: int, start: int) -> int:
        """What a forward pass keeps of a class for the backward pass, about.

        A block with frozen weights keeps the inputs of both norms, queries, keys, values and result of its attention,
        the keys and values with those of the prefix in front, and two of the MLP's wide tensors; the last block, of
        which one row is read, keys and values alone.

        Args:
            own: positions that are the class's own.
            start: number of positions before them.
        """
        width = self.positional_embedding.shape[1]
        seen = 2 * (start + own)
        numbers = (len(self.transformer) - 1) * width * (14 * own + seen) + width * (3 * own + seen)
        return numbers * torch.empty((), dtype=self.dtype).element_size()

    @staticmethod
    def kept(classes: int, each: int, budget: int) -> tuple[int, int]:
        """How many classes keep their activations, and how many of the others are run at a time.

        Args:
            classes: how many there are.
            each: bytes of one's activations.
            budget: of all; 0: there is none. A quarter of it is for what is run again.
        """
        if not budget or classes * each <= budget:
            return classes, classes
        size = max(1, min(classes, budget // 4 // each))
        return max(0, (budget - size * each) // each), size

    def _run(
        self,
        own: Tensor,
        end: Tensor,
        memories: Sequence[Memory],
        start: int,
        refresh: OwnRefresh | None,
        which: slice,
        whole: bool,
    ) -> Tensor:
        """Features (groups, classes, embed_dim) of a chunk (groups, classes, S, width), or all its outputs."""
        groups, classes, length = own.shape[:3]
        x = (own + self.positional_embedding[start : start + length]).flatten(0, 1).to(self.dtype)
        rows = end.repeat(groups)
        mask, seen = self._mask(start, length), start + length
        last = len(self.transformer) - 1
        for layer, block in enumerate(self.transformer):
            if refresh is not None:
                x = refresh(layer, x, which)
            memory = memories[layer] if memories else None
            if layer == last and not whole:  # only the end tokens are read
                x, _ = block(x, mask=mask[rows, None, None, :seen], memory=memory, rows=rows)
            else:
                x, _ = block(x, mask=mask[:, :seen], memory=memory)
        if whole:
            return x.unflatten(0, (groups, classes))
        return (self.ln_final(x[:, 0]) @ self.text_projection).unflatten(0, (groups, classes))

    def _mask(self, start: int, length: int) -> Tensor:
        """Rows of :func:`causal` for the positions from ``start`` on, in the type of what flows through the blocks."""
        return self.causal[start : start + length].to(self.dtype)


def causal(length: int) -> Tensor:
    """What is added to scores: 0 where a position may look, minus infinity at what comes after it.

    Attention would make the same of a mask of bools in every layer. Rows are eight numbers or a multiple of it apart,
    as kernels of GPUs want them; they would copy others.

    Returns:
        (length, length rounded up to eight), float32, on the CPU.
    """
    width = -(-length // 8) * 8
    return torch.full((length, width), float("-inf"), device="cpu").triu(1)
