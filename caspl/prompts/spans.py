"""Overwrite stretches of a token sequence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def overwrite(x: Tensor, spans: Sequence[tuple[int, Tensor]]) -> Tensor:
    """Put tokens at given places of x, without changing its length.

    Args:
        x: (n, tokens, width).
        spans: (start, tokens) pairs in ascending order, not overlapping; tokens are (length, width), or
            (m, length, width) with m = n or m a divisor of n whose entries repeat as a whole (class-specific
            tokens, sequences in image-major order).
    """
    if not spans:
        return x
    parts, done = [], 0
    for start, tokens in spans:
        parts += [x[:, done:start], expand_tokens(tokens, x.shape[0]).to(x.dtype)]
        done = start + tokens.shape[-2]
    return torch.cat([*parts, x[:, done:]], dim=1)


def expand_tokens(tokens: Tensor, n: int) -> Tensor:
    """(length, width) or (m, length, width) -> (n, length, width)."""
    if tokens.dim() == 2:
        return tokens.expand(n, -1, -1)
    return tokens if tokens.shape[0] == n else tokens.repeat(n // tokens.shape[0], 1, 1)
