"""Overwrite stretches of a token sequence."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def overwrite(x: Tensor, spans: Sequence[tuple[int, Tensor]]) -> Tensor:
    """Put tokens at given places of x, in place, and return it; nothing may have kept x for a backward pass.

    A block's output is the result of an addition, which keeps nothing; so only the tokens are written, not all of x.

    Args:
        x: (n, tokens, width), nobody else's.
        spans: (start, tokens) pairs in ascending order, not overlapping; tokens are (length, width), or
            (m, length, width) with m = n or m a divisor of n whose entries repeat as a whole (class-specific
            tokens, sequences in image-major order).
    """
    for start, tokens in spans:
        x[:, start : start + tokens.shape[-2]] = expand_tokens(tokens, x.shape[0])
    return x


def expand_tokens(tokens: Tensor, n: int) -> Tensor:
    """(length, width) or (m, length, width) -> (n, length, width)."""
    if tokens.dim() == 2:
        return tokens.expand(n, -1, -1)
    return tokens if tokens.shape[0] == n else tokens.repeat(n // tokens.shape[0], 1, 1)
