"""How the parity cases make their weights, prompts, images and labels: no file holds them, a seed does.

Every array is drawn by NumPy's legacy ``RandomState`` (its stream is frozen by NumPy's compatibility
policy), seeded with ``crc32(name) ^ seed``, so that any implementation can rebuild the same numbers.
"""

from __future__ import annotations

import zlib

import numpy as np

RESOLUTION, PATCH = 64, 16
VISION_WIDTH, VISION_LAYERS = 768, 3
TEXT_WIDTH, TEXT_LAYERS = 512, 3
EMBED_DIM, CONTEXT_LENGTH, VOCAB = 512, 77, 49408


def draw(name: str, shape: tuple[int, ...], std: float, seed: int = 0, mean: float = 0.0) -> np.ndarray:
    """Normal float32 array that depends on ``name``, ``shape``, ``std``, ``mean`` and ``seed`` alone."""
    state = np.random.RandomState((zlib.crc32(name.encode()) ^ seed) & 0xFFFFFFFF)
    return (mean + std * state.standard_normal(shape)).astype(np.float32)


def clip_shapes() -> dict[str, tuple[tuple[int, ...], float, float]]:
    """OpenAI-format CLIP state-dict keys -> (shape, std, mean)."""
    shapes: dict[str, tuple[tuple[int, ...], float, float]] = {
        "positional_embedding": ((CONTEXT_LENGTH, TEXT_WIDTH), 0.01, 0.0),
        "text_projection": ((TEXT_WIDTH, EMBED_DIM), TEXT_WIDTH**-0.5, 0.0),
        "logit_scale": ((), 0.0, float(np.log(100.0))),
        "token_embedding.weight": ((VOCAB, TEXT_WIDTH), 0.02, 0.0),
        "ln_final.weight": ((TEXT_WIDTH,), 0.1, 1.0),
        "ln_final.bias": ((TEXT_WIDTH,), 0.02, 0.0),
        "visual.class_embedding": ((VISION_WIDTH,), VISION_WIDTH**-0.5, 0.0),
        "visual.positional_embedding": (((RESOLUTION // PATCH) ** 2 + 1, VISION_WIDTH), VISION_WIDTH**-0.5, 0.0),
        "visual.proj": ((VISION_WIDTH, EMBED_DIM), VISION_WIDTH**-0.5, 0.0),
        "visual.conv1.weight": ((VISION_WIDTH, 3, PATCH, PATCH), (3 * PATCH * PATCH) ** -0.5, 0.0),
    }
    for norm in ("visual.ln_pre", "visual.ln_post"):
        shapes[f"{norm}.weight"] = ((VISION_WIDTH,), 0.1, 1.0)
        shapes[f"{norm}.bias"] = ((VISION_WIDTH,), 0.02, 0.0)
    for tower, width, layers in (
        ("visual.transformer", VISION_WIDTH, VISION_LAYERS),
        ("transformer", TEXT_WIDTH, TEXT_LAYERS),
    ):
        residual_std = width**-0.5 * (2 * layers) ** -0.5
        for i in range(layers):
            block = f"{tower}.resblocks.{i}"
            shapes |= {
                f"{block}.attn.in_proj_weight": ((3 * width, width), width**-0.5, 0.0),
                f"{block}.attn.in_proj_bias": ((3 * width,), 0.02, 0.0),
                f"{block}.attn.out_proj.weight": ((width, width), residual_std, 0.0),
                f"{block}.attn.out_proj.bias": ((width,), 0.02, 0.0),
                f"{block}.mlp.c_fc.weight": ((4 * width, width), (2 * width) ** -0.5, 0.0),
                f"{block}.mlp.c_fc.bias": ((4 * width,), 0.02, 0.0),
                f"{block}.mlp.c_proj.weight": ((width, 4 * width), residual_std, 0.0),
                f"{block}.mlp.c_proj.bias": ((width,), 0.02, 0.0),
            }
            for norm in ("ln_1", "ln_2"):
                shapes[f"{block}.{norm}.weight"] = ((width,), 0.1, 1.0)
                shapes[f"{block}.{norm}.bias"] = ((width,), 0.02, 0.0)
    return shapes


def clip_state_dict(seed: int = 0) -> dict[str, np.ndarray]:
    """A small CLIP with ViT-B/16's widths and 3 layers a tower, as an OpenAI-format state dict (float32)."""
    return {key: draw(key, shape, std, seed, mean) for key, (shape, std, mean) in clip_shapes().items()}


def images(name: str, count: int, seed: int = 0) -> np.ndarray:
    """(count, 3, 64, 64) float32: what the network gets, already normalised."""
    return draw(f"images/{name}", (count, 3, RESOLUTION, RESOLUTION), 1.0, seed)


def labels(name: str, count: int, num_classes: int, seed: int = 0) -> np.ndarray:
    """(count,) int64 in [0, num_classes)."""
    state = np.random.RandomState((zlib.crc32(f"labels/{name}".encode()) ^ seed) & 0xFFFFFFFF)
    return state.randint(0, num_classes, size=count).astype(np.int64)
