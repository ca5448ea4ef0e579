"""The look of `tinysat_r`: structures set in little glazed stones with dark joints."""

from __future__ import annotations

import numpy as np

from caspl.tiny import colours, shapes
from caspl.tiny.fields import SIDE, Array, as_picture, pixel_grid, smooth_field, uniform

STONE = 2
"""Side of a stone in pixels."""
GROUNDS = np.array([(0.30, 0.46, 0.43), (0.44, 0.36, 0.30), (0.28, 0.32, 0.46), (0.52, 0.50, 0.44)], dtype=np.float32)
JOINT = np.array((0.12, 0.11, 0.10), dtype=np.float32)


def _stones(images: Array) -> Array:
    """The mean of each stone, over its pixels."""
    n, channels = len(images), images.shape[-1]
    parts = images.reshape(n, SIDE // STONE, STONE, SIDE // STONE, STONE, channels).mean((2, 4))
    return np.asarray(parts.repeat(STONE, 1).repeat(STONE, 2))


def render(rng: np.random.Generator, shape: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Draw one picture for each pair of structure and colour: uint8 array of shape (n, SIDE, SIDE, 3)."""
    n = len(shape)
    period = np.exp(uniform(rng, np.log(6.5), np.log(10.0), n))
    x, y = pixel_grid(n)
    x, y = x + 0.6 * smooth_field(rng, n, 3), y + 0.6 * smooth_field(rng, n, 3)
    x, y = shapes.place(rng, shape, period, x, y)
    laid = shapes.coverage(shape, x, y, period, uniform(rng, 0.3, 0.9, n))[..., None]

    ground = GROUNDS[rng.integers(len(GROUNDS), size=n)][:, None, None, :]
    fired = colours.shade(rng, colour)
    fired = fired + uniform(rng, 0.5, 0.75, n)[..., None] * (fired.mean(-1, keepdims=True) - fired)
    images = _stones(ground + laid * (fired - ground))
    images = images * _stones(rng.normal(1, 0.3, (n, SIDE, SIDE, 3)).astype(np.float32))
    at = np.arange(SIDE) % STONE == 0
    joints = (at[:, None] | at[None, :])[None, :, :, None] * uniform(rng, 0.4, 0.7, n)[..., None]
    images = images + joints * (JOINT - images)
    return as_picture(images)
