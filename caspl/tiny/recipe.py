"""What the two models are and how they are pre-trained: everything that one may want to change."""

from __future__ import annotations

from dataclasses import dataclass

from caspl.tiny.fields import SIDE
from caspl.towers import Sizes


@dataclass(frozen=True)
class Recipe:
    """One pre-training.

    Args:
        sizes: of the model (the vocabulary is cut to the known words while it trains).
        pictures: size of the pool of rendered pictures.
        pool_seed, seed: of the pool; of weights and batches.
        steps, batch, lr, weight_decay, warmup: of AdamW with a linear warm-up and a cosine down to zero.
    """

    sizes: Sizes
    pictures: int
    pool_seed: int
    seed: int
    steps: int
    batch: int
    lr: float
    weight_decay: float = 0.05
    warmup: int = 300


RECIPES: dict[str, Recipe] = {
    "student": Recipe(
        sizes=Sizes(64, SIDE, 8, vision_width=64, vision_layers=6, text_width=64, text_layers=4),
        pictures=300_000, pool_seed=1, seed=1, steps=2500, batch=256, lr=1.5e-3,
    ),
    "teacher": Recipe(
        sizes=Sizes(128, SIDE, 8, vision_width=192, vision_layers=6, text_width=128, text_layers=4),
        pictures=300_000, pool_seed=1, seed=2, steps=8000, batch=256, lr=1e-3,
    ),
}  # fmt: skip
