"""Texts to token ids with CLIP's byte-pair vocabulary, which open_clip ships."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caspl.errors import CasPLError


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    return _module().SimpleTokenizer()


def _module() -> Any:
    """open_clip's module of that name, without the package around it: that imports all models, for seconds."""
    package = importlib.util.find_spec("open_clip")
    files = [Path(place) / "tokenizer.py" for place in (package and package.submodule_search_locations) or ()]
    if "open_clip" not in sys.modules and files and files[0].is_file():
        spec = importlib.util.spec_from_file_location(f"{__name__}.open_clip", files[0])
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except ImportError:  # one that needs its package
                pass
            else:
                return module
    return importlib.import_module("open_clip.tokenizer")


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
