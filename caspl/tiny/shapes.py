"""Structures: what a pattern looks like, without colour or style.

Every function takes coordinates counted in periods and returns a signed distance in periods, positive inside.
`t` in 0..1 makes the strokes thin or thick.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from caspl.tiny.fields import SIDE, Array, rotate, uniform

Shape = Callable[[Array, Array, Array], Array]
TURN = np.float32(2 * np.pi)


def _cell(u: Array) -> Array:
    """Position inside the unit cell, -0.5..0.5."""
    return u - np.floor(u) - np.float32(0.5)


def _stripes(u: Array, v: Array, t: Array) -> Array:
    return 0.15 + 0.17 * t - np.abs(_cell(u))


def _waves(u: Array, v: Array, t: Array) -> Array:
    return _stripes(u + 0.28 * np.sin(TURN * v / 1.5), v, t)


def _zigzags(u: Array, v: Array, t: Array) -> Array:
    return 0.7 * _stripes(u + 1.5 * np.abs(_cell(v / 1.4)) * 1.4, v, t)


def _dashes(u: Array, v: Array, t: Array) -> Array:
    along = v / 1.5 + 0.37 * np.floor(u)
    return np.minimum(0.12 + 0.12 * t - np.abs(_cell(u)), 1.5 * (0.3 - np.abs(_cell(along))))


def _grid(u: Array, v: Array, t: Array) -> Array:
    return 0.08 + 0.12 * t - np.minimum(np.abs(_cell(u)), np.abs(_cell(v)))


def _checks(u: Array, v: Array, t: Array) -> Array:
    half = np.float32(np.pi)
    return np.sin(half * u) * np.sin(half * v) / half + 0.05 * (t - 0.5)


def _dots(u: Array, v: Array, t: Array) -> Array:
    return 0.2 + 0.16 * t - np.hypot(_cell(u), _cell(v))


def _rings(u: Array, v: Array, t: Array) -> Array:
    return 0.06 + 0.07 * t - np.abs(np.hypot(_cell(u), _cell(v)) - 0.33)


def _squares(u: Array, v: Array, t: Array) -> Array:
    return 0.2 + 0.16 * t - np.maximum(np.abs(_cell(u)), np.abs(_cell(v)))


def _crosses(u: Array, v: Array, t: Array) -> Array:
    a, b = np.abs(_cell(u)), np.abs(_cell(v))
    arm, width = 0.4, 0.08 + 0.08 * t
    return np.maximum(np.minimum(width - a, arm - b), np.minimum(width - b, arm - a))


def _triangles(u: Array, v: Array, t: Array) -> Array:
    a, b = np.abs(_cell(u)), _cell(v)
    return np.minimum(0.15 + 0.1 * t - 0.87 * a - 0.5 * b, b + 0.17 + 0.1 * t)


def _stars(u: Array, v: Array, t: Array) -> Array:
    a, b = _cell(u), _cell(v)
    reach = (0.26 + 0.1 * t) * (1 + 0.45 * np.cos(5 * np.arctan2(b, a)))
    return reach - np.hypot(a, b)


def _rays(u: Array, v: Array, t: Array) -> Array:
    radius = np.hypot(u, v)
    spokes = np.float32(8)
    return radius / spokes * (np.cos(spokes * np.arctan2(v, u)) + 0.8 * (t - 0.5))


def _ripples(u: Array, v: Array, t: Array) -> Array:
    return _stripes(np.hypot(u, v), v, t)


def _spirals(u: Array, v: Array, t: Array) -> Array:
    return _stripes(np.hypot(u, v) + np.arctan2(v, u) / TURN, v, t)


def _bricks(u: Array, v: Array, t: Array) -> Array:
    row = np.floor(v * 1.4)
    along = np.abs(_cell(u / 1.4 + 0.5 * row)) * 1.4
    return np.minimum(0.62 - 0.1 * t - along, (0.42 - 0.08 * t - np.abs(_cell(v * 1.4))) / 1.4)


def _cells(u: Array, v: Array, t: Array) -> Array:
    tall = np.float32(np.sqrt(3))
    best = np.full_like(u, 9.0)
    for shift in (0.0, 0.5):  # a honeycomb is two rectangular lattices, one shifted by half a cell
        a, b = np.abs(_cell(u + shift)), np.abs(_cell(v / tall + shift)) * tall
        best = np.minimum(best, np.maximum(a, 0.5 * a + tall / 2 * b))
    return best - (0.41 - 0.12 * t)


def _blobs(u: Array, v: Array, t: Array) -> Array:
    # Waves that do not share a period: an irregular field with no grain, and no random numbers of its own.
    total = np.zeros_like(u)
    for k, (a, b) in enumerate(((0.83, 0.31), (-0.42, 0.71), (0.17, -0.93), (0.55, 0.6), (-0.77, 0.12))):
        total = total + np.sin(TURN * 0.8 * (a * u + b * v) + 1.7 * k)
    return total / 6 + 0.15 * (t - 0.8)


SHAPES: dict[str, Shape] = {
    "stripes": _stripes,
    "waves": _waves,
    "zigzags": _zigzags,
    "dashes": _dashes,
    "grid": _grid,
    "checks": _checks,
    "dots": _dots,
    "rings": _rings,
    "squares": _squares,
    "crosses": _crosses,
    "triangles": _triangles,
    "stars": _stars,
    "rays": _rays,
    "ripples": _ripples,
    "spirals": _spirals,
    "bricks": _bricks,
    "cells": _cells,
    "blobs": _blobs,
}
"""Every structure by its word."""

NAMES: tuple[str, ...] = tuple(SHAPES)
_CENTRED = np.array([name in ("rays", "ripples", "spirals") for name in NAMES])


def place(rng: np.random.Generator, index: np.ndarray, period: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """Coordinates in pixels as the pattern sees them: moved anywhere, but so that a centre is in sight, and turned."""
    reach = np.where(_CENTRED[index], 0.3 * SIDE, 8 * period[:, 0, 0]).astype(np.float32)
    shift = rng.uniform(-1, 1, (2, len(index))).astype(np.float32) * reach
    left, top = shift[:, :, None, None]
    return rotate(x - left, y - top, uniform(rng, 0, 2 * np.pi, len(index)))


def coverage(index: np.ndarray, x: Array, y: Array, period: Array, thickness: Array) -> Array:
    """Soft mask in 0..1 of shape (n, SIDE, SIDE): how much of a pixel lies inside the structure.

    `index` says which structure (into `NAMES`) each image has; `x`, `y` are coordinates in pixels and
    `period` is the size of the pattern in pixels.
    """
    inside = np.empty(x.shape, dtype=np.float32)
    for number in np.unique(index):
        rows = index == number
        size = period[rows]
        distance = SHAPES[NAMES[number]](x[rows] / size, y[rows] / size, thickness[rows])
        inside[rows] = distance * size
    return np.clip(inside + np.float32(0.5), 0, 1)
