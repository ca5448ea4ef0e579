"""Coordinates and smooth random fields: the raw material of both renderers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""float32 throughout; NumPy's own annotations do not follow that through a product with a Python number."""
SIDE = 32
"""Side of every rendered image in pixels."""


def uniform(rng: np.random.Generator, low: float, high: float, n: int) -> Array:
    """Draw `n` numbers, shaped (n, 1, 1) so that they spread over images."""
    return rng.uniform(low, high, (n, 1, 1)).astype(np.float32)


def pixel_grid(n: int) -> tuple[Array, Array]:
    """Pixel centres of `n` images relative to the middle, in pixels: two arrays of shape (n, SIDE, SIDE)."""
    axis = np.arange(SIDE, dtype=np.float32) - (SIDE - 1) / 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    shape = (n, SIDE, SIDE)
    return np.broadcast_to(x, shape).copy(), np.broadcast_to(y, shape).copy()


def rotate(x: Array, y: Array, angle: Array) -> tuple[Array, Array]:
    """Turn coordinates by `angle` (radians, one for each image)."""
    c, s = np.cos(angle), np.sin(angle)
    return c * x - s * y, s * x + c * y


def smooth_field(rng: np.random.Generator, n: int, cells: int) -> Array:
    """Random fields of shape (n, SIDE, SIDE), about unit variance, varying over SIDE / cells pixels."""
    coarse = rng.standard_normal((n, cells + 1, cells + 1), dtype=np.float32)
    at = np.linspace(0, cells, SIDE, endpoint=False, dtype=np.float32)
    low = at.astype(np.int64)
    part = at - low
    part = part * part * (3 - 2 * part)  # smoothstep: no creases along the cells' borders
    rows = coarse[:, low] * (1 - part)[None, :, None] + coarse[:, low + 1] * part[None, :, None]
    field = rows[:, :, low] * (1 - part) + rows[:, :, low + 1] * part
    return np.asarray(field * 1.5, dtype=np.float32)


def fractal_field(rng: np.random.Generator, n: int, octaves: tuple[int, ...] = (2, 4, 8, 16)) -> Array:
    """Sum of smooth fields, each octave weaker than the last: reads as terrain or cloud."""
    total = np.zeros((n, SIDE, SIDE), dtype=np.float32)
    weight = 1.0
    for cells in octaves:
        total += weight * smooth_field(rng, n, cells)
        weight *= 0.6
    return total / np.float32(1.3)


def as_picture(images: Array) -> np.ndarray:
    """Colours (n, SIDE, SIDE, 3) in 0..1, cut off there, as uint8."""
    return (np.clip(images, 0, 1) * 255 + 0.5).astype(np.uint8)


def blur(images: Array, sigma: Array) -> Array:
    """Blur (n, SIDE, SIDE, channels) with one strength an image: two passes of a 5-tap kernel in each direction."""
    taps = np.exp(-0.5 * (np.arange(-2, 3, dtype=np.float32) / np.maximum(sigma.reshape(-1, 1), 1e-3)) ** 2)
    taps /= taps.sum(1, keepdims=True)
    for axis in (1, 2):
        width = [(0, 0)] * images.ndim
        width[axis] = (2, 2)
        padded = np.pad(images, width, mode="edge")
        parts = []
        for tap in range(5):
            cut = [slice(None)] * images.ndim
            cut[axis] = slice(tap, tap + SIDE)
            parts.append(taps[:, tap].reshape(-1, *[1] * (images.ndim - 1)) * padded[tuple(cut)])
        images = sum(parts[1:], parts[0])
    return images
