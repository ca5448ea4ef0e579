"""The look of `tinysat_sketch`: structures hatched in coloured pencil on toned paper."""

from __future__ import annotations

import numpy as np

from caspl.tiny import colours, shapes
from caspl.tiny.fields import Array, as_picture, fractal_field, pixel_grid, rotate, smooth_field, uniform

PAPER = np.array([(0.70, 0.61, 0.48), (0.58, 0.59, 0.62), (0.55, 0.62, 0.55)], dtype=np.float32)
"""Toned, so that white pencil shows."""
HATCH = 2.6
"""Pixels from stroke to stroke."""


def _strokes(rng: np.random.Generator, n: int) -> Array:
    """Pressure of parallel strokes that waver a little, in 0..1."""
    x, y = rotate(*pixel_grid(n), uniform(rng, 0, 2 * np.pi, n))
    wave = np.sin(2 * np.pi / HATCH * (x + 0.5 * smooth_field(rng, n, 4)))
    return np.asarray(0.5 + 0.5 * wave)


def render(rng: np.random.Generator, shape: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Draw one picture for each pair of structure and colour: uint8 array of shape (n, SIDE, SIDE, 3)."""
    n = len(shape)
    period = np.exp(uniform(rng, np.log(5.0), np.log(8.5), n))
    x, y = pixel_grid(n)
    x, y = x + 0.6 * smooth_field(rng, n, 6), y + 0.6 * smooth_field(rng, n, 6)  # an unsteady hand
    x, y = shapes.place(rng, shape, period, x, y)
    drawn = shapes.coverage(shape, x, y, period, uniform(rng, 0.2, 0.9, n))

    grain = fractal_field(rng, n, (8, 16))
    paper = PAPER[rng.integers(len(PAPER), size=n)][:, None, None, :] * (1 + 0.06 * grain)[..., None]
    pressure = drawn * np.clip(0.1 + 0.7 * _strokes(rng, n) + 0.2 * grain, 0, 1) * uniform(rng, 0.5, 0.85, n)
    images = paper + pressure[..., None] * (colours.shade(rng, colour) - paper)
    images = images + 0.03 * rng.standard_normal(images.shape, dtype=np.float32)
    return as_picture(images)
