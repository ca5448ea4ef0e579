"""The part of CLIP's vocabulary that the tiny models know.

CLIP's token table has 49408 rows; the captions of the general world use 109 of them. Pre-training works on
those rows alone, under ids that keep their order (CLIP finds the end token as the largest id).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from caspl.tiny.captions import every_text
from caspl.towers import tokenize

LONGEST = 24
"""Positions that are kept of a caption: the longest has fewer."""


def known_ids() -> Tensor:
    """CLIP's ids that the general world's captions use (padding, start and end among them), ascending."""
    return tokenize(every_text()).unique()


def compact(texts: Sequence[str], known: Tensor) -> Tensor:
    """Texts to ids into `known`: (texts, LONGEST), uint8 to keep a pool of captions small."""
    ids = tokenize(texts, LONGEST)
    rows = torch.searchsorted(known, ids)
    if not torch.equal(known[rows.clamp(max=len(known) - 1)], ids):
        raise ValueError("a caption uses a token that every_text() does not list")
    return rows.to(torch.uint8)
