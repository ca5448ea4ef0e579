"""Texts to token ids with CLIP's byte-pair vocabulary, which open_clip ships."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from caspl.errors import CasPLError


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer  # imported late: it takes a second

    return SimpleTokenizer()


def encode(text: str) -> list[int]:
    """Byte-pair ids of a text, without start and end tokens."""
    return list(_tokenizer().encode(text))


def decode(ids: Sequence[int]) -> str:
    """The text of byte-pair ids, for people to read; other spaces and letters in capitals are gone."""
    return str(_tokenizer().decode(list(ids))).strip()


def tokenize(texts: Sequence[str] | str, context_length: int = 77) -> Tensor:
    """Token ids with start and end tokens, padded with zeros: (texts, context_length), int64.

    Raises:
        CasPLError: if a text does not fit; nothing is ever cut off.
    """
    texts = [texts] if isinstance(texts, str) else list(texts)
    tokenizer = _tokenizer()
    ids = torch.zeros(len(texts), context_length, dtype=torch.long)
    for row, text in zip(ids, texts, strict=True):
        tokens = [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]
        if len(tokens) > context_length:
            raise CasPLError(
                f"the text {text!r} has {len(tokens)} tokens, but the text tower has "
                f"{context_length} positions; shorten the class name or the template"
            )
        row[: len(tokens)] = torch.tensor(tokens)
    return ids
