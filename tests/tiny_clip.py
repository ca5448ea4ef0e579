"""Small random CLIPs for tests, with weights large enough that every term matters."""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor

from caspl.towers import CLIP, Sizes, random_state_dict

SIZES = Sizes(embed_dim=32, resolution=32, patch=8, vision_width=64, vision_layers=3, text_width=128, text_layers=3)


@lru_cache(maxsize=4)
def tiny_state_dict(seed: int = 0, sizes: Sizes = SIZES) -> dict[str, Tensor]:
    state = random_state_dict(sizes, seed)
    for key in ("positional_embedding", "token_embedding.weight"):
        state[key] = state[key] * 20
    return state


def tiny_clip(seed: int = 0, sizes: Sizes = SIZES) -> CLIP:
    return CLIP.from_state_dict(tiny_state_dict(seed, sizes))
