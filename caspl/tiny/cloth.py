"""The look of `tinycloth`: patterns woven into cloth that lies in folds under a warm lamp."""

from __future__ import annotations

import numpy as np

from caspl.tiny import colours, shapes
from caspl.tiny.fields import Array, as_picture, blur, pixel_grid, rotate, smooth_field, uniform

YARN = np.array([(0.86, 0.82, 0.74), (0.34, 0.36, 0.42), (0.62, 0.56, 0.52)], dtype=np.float32)
LAMP = np.array((1.08, 0.98, 0.84), dtype=np.float32)
THREAD = 2.3
"""Pixels from thread to thread."""


def _weave(x: Array, y: Array) -> Array:
    """Brightness of warp and weft that pass over each other, in -1..1."""
    turn = 2 * np.pi / THREAD
    return np.asarray(np.sin(turn * x) * np.sin(turn * y))


def render(rng: np.random.Generator, shape: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Draw one picture for each pair of structure and colour: uint8 array of shape (n, SIDE, SIDE, 3)."""
    n = len(shape)
    period = np.exp(uniform(rng, np.log(4.5), np.log(7.5), n))
    x, y = rotate(*pixel_grid(n), uniform(rng, 0, 2 * np.pi, n))
    fold = smooth_field(rng, n, 3)
    x, y = x + 1.2 * fold, y + 0.6 * smooth_field(rng, n, 3)  # a fold takes the pattern along
    threads = _weave(x, y)
    woven = shapes.coverage(shape, *shapes.place(rng, shape, period, x, y), period, uniform(rng, 0.2, 0.9, n))

    yarn = YARN[rng.integers(len(YARN), size=n)][:, None, None, :]
    dyed = colours.shade(rng, colour)
    faded = dyed + uniform(rng, 0.35, 0.65, n)[..., None] * (dyed.mean(-1, keepdims=True) - dyed)
    images = yarn + (woven * uniform(rng, 0.7, 0.95, n))[..., None] * (faded - yarn)
    images = images * (1 + 0.18 * threads + 0.25 * fold)[..., None]
    images = images * LAMP * uniform(rng, 0.7, 1.1, n)[..., None]
    images = blur(images, uniform(rng, 0.2, 0.6, n).ravel())
    images = images + 0.03 * rng.standard_normal(images.shape, dtype=np.float32)
    return as_picture(images)
