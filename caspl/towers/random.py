"""A freshly initialised CLIP as an OpenAI-format state dict: the start of a pre-training, and tests' models."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from caspl.towers.sizes import Sizes


def random_state_dict(sizes: Sizes, seed: int = 0) -> dict[str, Tensor]:
    """Draw the weights of a CLIP with the standard deviations of the CLIP paper's initialisation.

    Args:
        sizes: what to build.
        seed: seed of a generator of its own; the global one is left alone.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, std: float) -> Tensor:
        return std * torch.randn(*shape, generator=generator)

    vision, text = sizes.vision_width, sizes.text_width
    state = {
        "visual.class_embedding": normal(vision, std=vision**-0.5),
        "visual.positional_embedding": normal(sizes.grid**2 + 1, vision, std=vision**-0.5),
        "visual.proj": normal(vision, sizes.embed_dim, std=vision**-0.5),
        "visual.conv1.weight": normal(vision, 3, sizes.patch, sizes.patch, std=(3 * sizes.patch**2) ** -0.5),
        "positional_embedding": normal(sizes.context_length, text, std=0.01),
        "text_projection": normal(text, sizes.embed_dim, std=text**-0.5),
        "token_embedding.weight": normal(sizes.vocabulary, text, std=0.02),
        "logit_scale": torch.tensor(math.log(1 / 0.07)),
    }
    for norm, width in (("visual.ln_pre", vision), ("visual.ln_post", vision), ("ln_final", text)):
        state |= {f"{norm}.weight": torch.ones(width), f"{norm}.bias": torch.zeros(width)}
    towers = (("visual.transformer", vision, sizes.vision_layers), ("transformer", text, sizes.text_layers))
    for tower, width, layers in towers:
        residual = width**-0.5 * (2 * layers) ** -0.5
        for layer in range(layers):
            block = f"{tower}.resblocks.{layer}"
            state |= {
                f"{block}.attn.in_proj_weight": normal(3 * width, width, std=width**-0.5),
                f"{block}.attn.in_proj_bias": torch.zeros(3 * width),
                f"{block}.attn.out_proj.weight": normal(width, width, std=residual),
                f"{block}.attn.out_proj.bias": torch.zeros(width),
                f"{block}.mlp.c_fc.weight": normal(4 * width, width, std=(2 * width) ** -0.5),
                f"{block}.mlp.c_fc.bias": torch.zeros(4 * width),
                f"{block}.mlp.c_proj.weight": normal(width, 4 * width, std=residual),
                f"{block}.mlp.c_proj.bias": torch.zeros(width),
            }
            for norm in ("ln_1", "ln_2"):
                state |= {
                    f"{block}.{norm}.weight": torch.ones(width),
                    f"{block}.{norm}.bias": torch.zeros(width),
                }
    return state
