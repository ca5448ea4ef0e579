"""The image tower: a ViT that can be opened before every block (CLIP, arXiv 2103.00020, section 2.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from caspl.towers.block import LayerNorm, NormPair, Transformer
from caspl.towers.sizes import Sizes

VisionRefresh = Callable[[int, Tensor], Tensor]
"""(layer, x (batch, tokens, width)) -> x as that block shall see it. Layer 0 is called after the positional
embedding and before ``ln_pre``; the number of tokens after the first may change."""


class VisionTower(nn.Module):
    """[CLS][patches] -> feature of CLS. Parameters are named as in OpenAI's state dicts."""

    def __init__(self, sizes: Sizes, activation: str = "quick_gelu") -> None:
        super().__init__()
        width = sizes.vision_width
        self.conv1 = nn.Conv2d(3, width, sizes.patch, sizes.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(sizes.grid**2 + 1, width))
        self.ln_pre = LayerNorm(width)
        self.transformer = Transformer(width, sizes.vision_layers, sizes.heads[0], activation)
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(torch.empty(width, sizes.embed_dim))

    def forward(self, images: Tensor, refresh: VisionRefresh | None = None, norms: Sequence[NormPair] = ()) -> Tensor:
        """Encode images.

        Args:
            images: (batch, 3, resolution, resolution), normalised.
            refresh: called before every block, see :data:`VisionRefresh`.
            norms: a pair a block, in the place of the blocks' own; none: those.

        Returns:
            (batch, embed_dim), not normalised.
        """
        patches = self.conv1(images.to(self.conv1.weight.dtype)).flatten(2).transpose(1, 2)
        cls = self.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        x = torch.cat([cls, patches], dim=1) + self.positional_embedding.to(patches.dtype)
        last = len(self.transformer) - 1
        for layer, block in enumerate(self.transformer):
            if refresh is not None:
                x = refresh(layer, x)
            if layer == 0:
                x = self.ln_pre(x)
            # Of the last block only CLS is read: the other rows serve as keys and values alone.
            x, _ = block(x, rows=0 if layer == last else None, norms=norms[layer] if norms else None)
        return self.ln_post(x[:, 0]) @ self.proj
