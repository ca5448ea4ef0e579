"""The look of the target domain: structures seen from above on open country.

Nothing of this style is in the general world: fractal terrain, bent and very fine structures, shadows cast to one
side, weathered paint and blue haze.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from caspl.tiny import colours, shapes
from caspl.tiny.fields import Array, as_picture, blur, fractal_field, pixel_grid, smooth_field, uniform

EARTH = np.array([(0.52, 0.42, 0.28), (0.33, 0.40, 0.20), (0.66, 0.58, 0.40), (0.40, 0.35, 0.30)], dtype=np.float32)
HAZE = np.array((0.60, 0.68, 0.80), dtype=np.float32)
SUN = np.array((1.05, 0.97, 0.80), dtype=np.float32)


@dataclass(frozen=True)
class Season:
    """What differs where the same land is pictured anew.

    Args:
        periods: of the structures, in pixels, from and to.
        bent: how far structures are bent, in pixels.
        kept: of the paint's colour, from and to.
        haze: from and to.
        noise: of the camera.
    """

    periods: tuple[float, float] = (5.0, 8.5)
    bent: float = 0.8
    kept: tuple[float, float] = (0.35, 0.7)
    haze: tuple[float, float] = (0.2, 0.45)
    noise: float = 0.045


FIRST = Season()
ANEW = Season(periods=(5.0, 8.0), bent=1.0, kept=(0.3, 0.65), haze=(0.25, 0.5), noise=0.055)
"""A little harder everywhere, as ImageNetV2's photographs are."""


def _terrain(rng: np.random.Generator, n: int) -> Array:
    """Two kinds of soil and vegetation mixed by fractal noise."""
    first, second = EARTH[rng.integers(len(EARTH), size=(2, n))][:, :, None, None, :]
    mix = np.clip(0.5 + 0.6 * fractal_field(rng, n), 0, 1)[..., None]
    relief = 1 + 0.13 * fractal_field(rng, n, (4, 8, 16))[..., None]
    return (first * mix + second * (1 - mix)) * relief


def render(rng: np.random.Generator, shape: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Draw one picture for each pair of structure and colour: uint8 array of shape (n, SIDE, SIDE, 3)."""
    return _render(rng, shape, colour, FIRST)


def render_anew(rng: np.random.Generator, shape: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Draw them as they look another time."""
    return _render(rng, shape, colour, ANEW)


def _render(rng: np.random.Generator, shape: np.ndarray, colour: np.ndarray, season: Season) -> np.ndarray:
    n = len(shape)
    period = np.exp(uniform(rng, np.log(season.periods[0]), np.log(season.periods[1]), n))
    thickness = uniform(rng, 0.1, 0.9, n)
    x, y = pixel_grid(n)
    x, y = x + season.bent * smooth_field(rng, n, 3), y + season.bent * smooth_field(rng, n, 3)
    x, y = shapes.place(rng, shape, period, x, y)
    built = shapes.coverage(shape, x, y, period, thickness)

    images = _terrain(rng, n)
    shadow = np.roll(built, (1, 1), (1, 2))
    images = images * (1 - 0.6 * shadow[..., None])
    paint = colours.shade(rng, colour)
    gray = paint.mean(-1, keepdims=True)
    muted = gray + (paint - gray) * uniform(rng, *season.kept, n)[..., None]
    muted = muted * (1 + 0.16 * fractal_field(rng, n, (4, 8, 16)))[..., None]
    images = images + (built * uniform(rng, 0.7, 0.95, n))[..., None] * (muted - images)

    images = images * SUN * uniform(rng, 0.8, 1.1, n)[..., None]
    veil = uniform(rng, *season.haze, n)[..., None]
    images = images * (1 - veil) + HAZE * veil
    images = blur(images, uniform(rng, 0.3, 0.7, n).ravel())
    images = images + season.noise * rng.standard_normal(images.shape, dtype=np.float32)
    return as_picture(images)
