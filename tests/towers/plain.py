"""CLIP's text tower written plainly: all positions, every class, nothing shared. The yardstick of property tests."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from caspl.towers.sizes import heads_of

Fresh = Mapping[int, list[tuple[int, Tensor]]]


def layer_norm(x: Tensor, state: Mapping[str, Tensor], name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def block(x: Tensor, state: Mapping[str, Tensor], name: str, mask: Tensor | None) -> Tensor:
    n, length, width = x.shape
    heads = heads_of(width)
    y = layer_norm(x, state, f"{name}.ln_1")
    qkv = y @ state[f"{name}.attn.in_proj_weight"].t() + state[f"{name}.attn.in_proj_bias"]
    q, k, v = (part.view(n, length, heads, -1).transpose(1, 2) for part in qkv.chunk(3, -1))
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores + mask
    y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, width)
    x = x + y @ state[f"{name}.attn.out_proj.weight"].t() + state[f"{name}.attn.out_proj.bias"]
    y = layer_norm(x, state, f"{name}.ln_2") @ state[f"{name}.mlp.c_fc.weight"].t() + state[f"{name}.mlp.c_fc.bias"]
    y = y * torch.sigmoid(1.702 * y)
    return x + y @ state[f"{name}.mlp.c_proj.weight"].t() + state[f"{name}.mlp.c_proj.bias"]


def text_features(
    embedded: Tensor,
    end: Tensor,
    state: Mapping[str, Tensor],
    layers: int,
    fresh: Fresh,
) -> Tensor:
    """(n, 77, width) embeddings without positions -> (n, embed_dim); ``fresh``: layer -> [(start, tokens)]."""
    x = embedded + state["positional_embedding"]
    length = x.shape[1]
    mask = torch.full((length, length), float("-inf")).triu(1)
    for layer in range(layers):
        for start, tokens in fresh.get(layer, []):
            tokens = tokens.expand(len(x), -1, -1)
            x = torch.cat([x[:, :start], tokens, x[:, start + tokens.shape[1] :]], dim=1)
        x = block(x, state, f"transformer.resblocks.{layer}", mask)
    x = layer_norm(x, state, "ln_final")
    return x[torch.arange(len(x)), end] @ state["text_projection"]


def image_features(images: Tensor, state: Mapping[str, Tensor], layers: int, fresh: Fresh, total: int) -> Tensor:
    """``fresh``: layer -> [(offset after the patches, tokens)]; ``total`` tokens stand after the patches."""
    weight = state["visual.conv1.weight"]
    x = F.conv2d(images, weight, stride=weight.shape[-1]).flatten(2).transpose(1, 2)
    x = torch.cat([state["visual.class_embedding"].expand(len(x), 1, -1), x], 1) + state["visual.positional_embedding"]
    patches = x.shape[1]
    x = torch.cat([x, x.new_zeros(len(x), total, x.shape[-1])], 1)
    for layer in range(layers):
        for offset, tokens in fresh.get(layer, []):
            x = x.clone()
            x[:, patches + offset : patches + offset + len(tokens)] = tokens
        if layer == 0:
            x = layer_norm(x, state, "visual.ln_pre")
        x = block(x, state, f"visual.transformer.resblocks.{layer}", None)
    return layer_norm(x[:, 0], state, "visual.ln_post") @ state["visual.proj"]
