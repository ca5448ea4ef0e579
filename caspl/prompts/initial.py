"""Initial values of segments."""

from __future__ import annotations

import torch
from torch import Tensor

from caspl.towers.text import TextTower
from caspl.towers.tokenizer import encode

PROMPT_STD = 0.02  # of every published method, for every randomly drawn token


def normal_tokens(depth: int, *shape: int) -> Tensor:
    """N(0, 0.02^2) tokens (depth, *shape) from torch's global generator, drawn layer by layer."""
    return torch.stack([PROMPT_STD * torch.randn(*shape) for _ in range(depth)])


def word_tokens(tower: TextTower, words: str, length: int) -> Tensor:
    """Embeddings of the first ``length`` byte-pair tokens of ``words``: (length, width)."""
    ids = torch.tensor(encode(words)[:length])
    if len(ids) < length:
        raise ValueError(f"{words!r} has {len(ids)} tokens, {length} were asked for")
    with torch.no_grad():
        return tower.embed(ids.to(tower.token_embedding.weight.device)).float().cpu()
