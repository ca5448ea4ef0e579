"""A CLIP in the shape of other code bases: OpenAI's names, torch's attention, tokens renewed inside the blocks.

What differs from fork to fork is a :class:`Style`: sequence-first or batch-first, torch's attention or one of its own,
blocks that take a tensor or a list.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.towers import Sizes
from caspl.zoo import find_weights


@dataclass(frozen=True)
class Style:
    """How a fork is built.

    Args:
        batch_first: blocks get (batch, tokens, width).
        own_attention: not torch's module, so that a block does not say which axis is which.
        transposes: torch's module has the other order than the blocks, which transpose around it.
        passes_lists: blocks take and give [x, deep tokens, counter], as MaPLe's and MPL's.
        text, vision: (length, depth) of tokens that blocks own and renew (IVLP, PromptSRC, VPT).
        removes: image tokens dropped where a list's tokens come in (MPL); None: as many.
        length: tokens that a list's text tokens replace.
    """

    batch_first: bool = False
    own_attention: bool = False
    transposes: bool = False
    passes_lists: bool = False
    text: tuple[int, int] = (0, 0)
    vision: tuple[int, int] = (0, 0)
    removes: int | None = None
    length: int = 0


class Norm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(x.dtype)


class QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(1.702 * x) * x


class OwnAttention(nn.Module):
    """Attention over (batch, tokens, width), with the parameters of torch's module."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.zeros(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        parts = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        return self.out_proj(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """One block; ``layer`` and ``kind`` decide which tokens it renews before its attention."""

    def __init__(self, width: int, mask: Tensor | None, style: Style, kind: str, layer: int) -> None:
        super().__init__()
        heads = max(1, width // 64)
        self.style, self.kind, self.layer, self.mask = style, kind, layer, mask
        self.attn: nn.Module = (
            OwnAttention(width, heads)
            if style.own_attention
            else nn.MultiheadAttention(width, heads, batch_first=style.batch_first != style.transposes)
        )
        self.ln_1, self.ln_2 = Norm(width), Norm(width)
        layers = [("c_fc", nn.Linear(width, 4 * width)), ("gelu", QuickGELU()), ("c_proj", nn.Linear(4 * width, width))]
        self.mlp = nn.Sequential(OrderedDict(layers))
        length, depth = getattr(style, kind)
        if 0 < layer < depth:
            self.VPT_shallow = nn.Parameter(0.02 * torch.randn(length, width))

    def attend(self, x: Tensor) -> Tensor:
        if isinstance(self.attn, OwnAttention):
            if self.style.batch_first:
                return self.attn(x, self.mask)
            return self.attn(x.transpose(0, 1), self.mask).transpose(0, 1)
        x = x.transpose(0, 1) if self.style.transposes else x
        x = self.attn(x, x, x, need_weights=False, attn_mask=self.mask)[0]
        return x.transpose(0, 1) if self.style.transposes else x

    def renew(self, x: Tensor, tokens: Tensor, dropped: int) -> Tensor:
        """Fresh tokens in the place of the old ones: behind SOS in text, at the end in vision."""
        axis = int(self.style.batch_first)
        count = x.shape[axis]
        fresh = tokens.unsqueeze(1 - axis).expand(*(tokens.shape[0] if i == axis else n for i, n in enumerate(x.shape)))
        if self.kind == "text":
            return torch.cat([x.narrow(axis, 0, 1), fresh, x.narrow(axis, 1 + dropped, count - 1 - dropped)], axis)
        return torch.cat([x.narrow(axis, 0, count - dropped), fresh], axis)

    def forward(self, given: Any) -> Any:
        x, *rest = given if self.style.passes_lists else (given,)
        if hasattr(self, "VPT_shallow"):
            x = self.renew(x, self.VPT_shallow, len(self.VPT_shallow))
        if rest and self.layer > 0 and rest[1] < len(rest[0]):
            removes = self.style.removes if self.kind == "vision" else None
            x = self.renew(x, rest[0][rest[1]], self.style.length if removes is None else removes)
            rest[1] += 1
        x = x + self.attend(self.ln_1(x))
        x = x + self.mlp(self.ln_2(x))
        return [x, *rest] if self.style.passes_lists else x


class Transformer(nn.Module):
    def __init__(self, width: int, layers: int, mask: Tensor | None, style: Style, kind: str) -> None:
        super().__init__()
        self.style = style
        self.resblocks = nn.Sequential(*(Block(width, mask, style, kind, layer) for layer in range(layers)))

    def forward(self, x: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
        """(batch, tokens, width) -> the same."""
        x = x if self.style.batch_first else x.permute(1, 0, 2)
        x = self.resblocks([x, deep, 0])[0] if self.style.passes_lists else self.resblocks(x)
        return x if self.style.batch_first else x.permute(1, 0, 2)


class ImageTower(nn.Module):
    def __init__(self, sizes: Sizes, style: Style) -> None:
        super().__init__()
        width = sizes.vision_width
        self.input_resolution, self.output_dim = sizes.resolution, sizes.embed_dim
        self.conv1 = nn.Conv2d(3, width, sizes.patch, sizes.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(sizes.grid**2 + 1, width))
        self.ln_pre, self.ln_post = Norm(width), Norm(width)
        self.transformer = Transformer(width, sizes.vision_layers, None, style, "vision")
        self.proj = nn.Parameter(torch.zeros(width, sizes.embed_dim))
        if style.vision[1]:
            self.VPT = nn.Parameter(0.02 * torch.randn(style.vision[0], width))

    def forward(self, images: Tensor, first: Tensor | None = None, deep: Sequence[Tensor] = ()) -> Tensor:
        x = self.conv1(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
        x = x + self.positional_embedding.to(x.dtype)
        first = getattr(self, "VPT", first)
        if first is not None:
            x = torch.cat([x, first.expand(len(x), -1, -1)], dim=1)
        return self.ln_post(self.transformer(self.ln_pre(x), deep)[:, 0]) @ self.proj


class CLIP(nn.Module):
    def __init__(self, sizes: Sizes, style: Style) -> None:
        super().__init__()
        self.visual = ImageTower(sizes, style)
        mask = torch.full((sizes.context_length, sizes.context_length), float("-inf")).triu(1)
        self.transformer = Transformer(sizes.text_width, sizes.text_layers, mask, style, "text")
        self.token_embedding = nn.Embedding(sizes.vocabulary, sizes.text_width)
        self.positional_embedding = nn.Parameter(torch.zeros(sizes.context_length, sizes.text_width))
        self.ln_final = Norm(sizes.text_width)
        self.text_projection = nn.Parameter(torch.zeros(sizes.text_width, sizes.embed_dim))
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def encode_image(self, images: Tensor) -> Tensor:
        return self.visual(images)

    def encode_text(self, ids: Tensor) -> Tensor:
        return end_features(self, self.token_embedding(ids), ids)


def end_features(clip: Any, embedded: Tensor, ids: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
    """Features at the end tokens of embedded texts without positions."""
    x = clip.ln_final(clip.transformer(embedded + clip.positional_embedding, deep))
    return x[torch.arange(len(x)), ids.argmax(-1)] @ clip.text_projection


def load_clip_to_cpu(name: str, style: Style) -> CLIP:
    """Weights as they are named, non-strictly, for the fork's own tokens are not among them."""
    weights = find_weights(name).state_dict
    clip = CLIP(Sizes.of(weights), style)
    clip.load_state_dict(weights, strict=False)
    return clip.eval()
