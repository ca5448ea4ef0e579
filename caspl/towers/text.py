"""The text tower, with the prefix that classes share computed once.

CLIP's text tower is causal: what stands in front of the class words, ``[SOS][context]``, does not see them
and is the same for every class. So the *shared* part is run once (once per image if it depends on the image) and
each class's *own* part attends to its keys and values. Positions after the longest end token are never
computed. Both are exact, since no later position can reach an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from caspl.towers.block import LayerNorm, Transformer
from caspl.towers.sizes import Sizes

TextRefresh = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(layer, shared (groups, tokens, width), own (n, tokens, width)) -> both as that block shall see them.
Called before every block; lengths must not change, for positions are fixed."""


class TextTower(nn.Module):
    """Embedded tokens -> feature at the end token. Parameters are named as in OpenAI's state dicts."""

    def __init__(self, sizes: Sizes, activation: str = "quick_gelu") -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(sizes.vocabulary, sizes.text_width)
        self.positional_embedding = nn.Parameter(torch.empty(sizes.context_length, sizes.text_width))
        self.transformer = Transformer(sizes.text_width, sizes.text_layers, activation)
        self.ln_final = LayerNorm(sizes.text_width)
        self.text_projection = nn.Parameter(torch.empty(sizes.text_width, sizes.embed_dim))

    @property
    def dtype(self) -> torch.dtype:
        """Precision in which the blocks compute."""
        return self.text_projection.dtype

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids (..., tokens) -> embeddings (..., tokens, width), without positions."""
        return self.token_embedding(ids)

    def knows(self, ids: Sequence[int]) -> bool:
        """Whether any of these tokens has an embedding; the rows of words that a CLIP has never seen may be zero."""
        return bool(self.token_embedding.weight[list(ids)].any())

    def forward(self, shared: Tensor, own: Tensor, end: Tensor, refresh: TextRefresh | None = None) -> Tensor:
        """Encode embedded texts.

        Args:
            shared: (groups, P, width) embeddings of the positions 0..P-1, without positions; P may be 0.
                groups is 1, or one per image.
            own: (classes, S, width) embeddings of the positions P..P+S-1, or (groups, classes, S, width)
                where they differ between the groups.
            end: (classes,) index of the end token within ``own``.
            refresh: called before every block, see :data:`TextRefresh`.

        Returns:
            (classes, embed_dim) for one group, else (groups, classes, embed_dim); not normalised.
        """
        groups, prefix, width = shared.shape
        length = int(end.max()) + 1
        if own.dim() == 3:
            own = own.unsqueeze(0).expand(groups, -1, -1, -1)
        classes = own.shape[1]
        position = self.positional_embedding
        own = (own[:, :, :length] + position[prefix : prefix + length]).flatten(0, 1).to(self.dtype)
        shared = (shared + position[:prefix]).to(self.dtype)
        rows = end.repeat(groups)
        keep = causal_mask(prefix, length, own.device)
        for layer, block in enumerate(self.transformer):
            last = layer == len(self.transformer) - 1
            if refresh is not None:
                shared, own = refresh(layer, shared, own)
            memory = None
            if prefix and last:
                memory = block.key_value(shared)
            elif prefix:
                shared, memory = block(shared, mask=causal_mask(0, prefix, own.device))
            if last:  # only the end tokens are read
                own, _ = block(own, mask=keep[rows].unsqueeze(1).unsqueeze(1), memory=memory, rows=rows)
            else:
                own, _ = block(own, mask=keep, memory=memory)
        features = self.ln_final(own[:, 0]) @ self.text_projection
        return features if groups == 1 else features.unflatten(0, (groups, classes))


def causal_mask(prefix: int, length: int, device: torch.device) -> Tensor:
    """(length, prefix + length) bool: row i may look at the whole prefix and at own positions 0..i."""
    return torch.ones(length, prefix + length, dtype=torch.bool, device=device).tril(prefix)
