"""Colour words and the colours that they may stand for."""

from __future__ import annotations

import numpy as np

from caspl.tiny.fields import Array

PALETTE: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.12, 0.12),
    "orange": (0.95, 0.52, 0.10),
    "yellow": (0.95, 0.90, 0.20),
    "green": (0.18, 0.60, 0.22),
    "teal": (0.10, 0.66, 0.66),
    "blue": (0.16, 0.30, 0.85),
    "purple": (0.50, 0.18, 0.66),
    "pink": (0.95, 0.58, 0.76),
    "brown": (0.45, 0.28, 0.13),
    "white": (0.95, 0.95, 0.95),
    "gray": (0.52, 0.52, 0.52),
    "black": (0.07, 0.07, 0.07),
}
"""Every colour by its word, red-green-blue in 0..1."""

NAMES: tuple[str, ...] = tuple(PALETTE)
_TABLE = np.array(list(PALETTE.values()), dtype=np.float32)


def distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How far two colour words (indices into `NAMES`) lie from each other."""
    gap = np.linalg.norm(_TABLE[first] - _TABLE[second], axis=-1)
    return np.asarray(gap)


def shade(rng: np.random.Generator, index: np.ndarray, spread: float = 0.07) -> Array:
    """One colour for each index, varied in hue and brightness; shape (n, 1, 1, 3)."""
    base = _TABLE[index]
    value = rng.normal(1, 1.5 * spread, (len(index), 1)).astype(np.float32)
    tint = rng.normal(0, spread, base.shape).astype(np.float32)
    return np.clip(base * value + tint, 0, 1)[:, None, None, :]
