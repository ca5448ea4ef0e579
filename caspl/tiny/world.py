"""The general world: rendered images with captions, on which the tiny student and teacher are pre-trained.

A picture shows one structure in one colour over a ground of another colour. Everything else varies widely: scale,
angle, view, light, colour cast, haze, noise, blur, occluders. The style of the target domain (`caspl.tiny.domain`:
terrain ground, cast shadows, weathered paint, warping) is deliberately not among these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from caspl.tiny import colours, shapes
from caspl.tiny.fields import SIDE, Array, as_picture, blur, pixel_grid, rotate, smooth_field, uniform


@dataclass(frozen=True)
class Scenes:
    """What `n` pictures show; every field is an array of length `n`."""

    shape: np.ndarray
    colour: np.ndarray
    ground: np.ndarray
    period: np.ndarray
    thickness: np.ndarray
    slanted: np.ndarray
    haze: np.ndarray
    noise: np.ndarray
    soft: np.ndarray
    light: np.ndarray

    def __len__(self) -> int:
        return len(self.shape)

    def parts(self, size: int) -> Iterator[Scenes]:
        """Pieces of at most `size` scenes, which stay in the processor's cache while they are drawn."""
        for start in range(0, len(self), size):
            yield Scenes(*(getattr(self, field.name)[start : start + size] for field in fields(self)))


def sample(rng: np.random.Generator, n: int) -> Scenes:
    """Draw what `n` pictures show."""
    colour = rng.integers(len(colours.NAMES), size=n)
    ground = rng.integers(len(colours.NAMES), size=n)
    for _ in range(20):  # the structure must stand out from its ground
        close = colours.distance(colour, ground) < 0.35
        ground[close] = rng.integers(len(colours.NAMES), size=int(close.sum()))
    return Scenes(
        shape=rng.integers(len(shapes.NAMES), size=n),
        colour=colour,
        ground=ground,
        period=np.exp(rng.uniform(np.log(6.0), np.log(18.0), n)).astype(np.float32),
        thickness=rng.uniform(0, 1, n).astype(np.float32),
        slanted=rng.random(n) < 0.3,
        haze=(rng.uniform(0, 0.5, n) * (rng.random(n) < 0.5)).astype(np.float32),
        noise=(rng.uniform(0, 0.15, n) * (rng.random(n) < 0.6)).astype(np.float32),
        soft=(rng.uniform(0, 1.1, n) * (rng.random(n) < 0.5)).astype(np.float32),
        light=rng.normal(1, 0.2, n).astype(np.float32),
    )


def _view(rng: np.random.Generator, scenes: Scenes) -> tuple[Array, Array]:
    """Coordinates on the pictured plane: turned, shifted, stretched and, in slanted views, in perspective."""
    n = len(scenes)
    x, y = pixel_grid(n)
    tilt = uniform(rng, 0.25, 0.6, n) * scenes.slanted[:, None, None]
    x, y = rotate(x, y, uniform(rng, 0, 2 * np.pi, n))
    depth = 1 / (1 - tilt * y / (0.75 * SIDE))
    x, y = x * depth, y * depth * (1 + tilt)
    x, y = shapes.place(rng, scenes.shape, scenes.period[:, None, None], x, y)
    stretch = np.exp(uniform(rng, -0.12, 0.12, n))
    return x * stretch, y / stretch


def _grounds(rng: np.random.Generator, scenes: Scenes) -> Array:
    """Grounds in their colour: flat, shaded across, mottled or faintly streaked."""
    n = len(scenes)
    base = colours.shade(rng, scenes.ground)
    x, y = rotate(*pixel_grid(n), uniform(rng, 0, 2 * np.pi, n))
    kind = rng.integers(4, size=n)[:, None, None]
    texture = np.where(kind == 1, x / SIDE * 1.2, np.float32(0))
    texture = np.where(kind == 2, 0.5 * smooth_field(rng, n, 4), texture)
    texture = np.where(kind == 3, 0.5 * np.sin(x * uniform(rng, 0.5, 2.0, n)), texture)
    second = np.clip(base + rng.normal(0, 0.18, base.shape).astype(np.float32), 0, 1)
    return base + texture[..., None] * (second - base)


def _occlude(rng: np.random.Generator, images: Array) -> Array:
    """Cover a corner or a spot of one picture in four with a flat colour."""
    n = len(images)
    x, y = pixel_grid(n)
    x, y = x - uniform(rng, -16, 16, n), y - uniform(rng, -16, 16, n)
    size = uniform(rng, 3, 8, n)
    box = np.maximum(np.abs(x), np.abs(y) * uniform(rng, 0.5, 2, n)) < size
    hidden = np.where(uniform(rng, 0, 1, n) < 0.5, box, np.hypot(x, y) < size)
    hidden &= uniform(rng, 0, 1, n) < 0.25
    cover = rng.uniform(0, 1, (n, 1, 1, 3)).astype(np.float32)
    return np.where(hidden[..., None], cover, images)


def _camera(rng: np.random.Generator, scenes: Scenes, images: Array) -> Array:
    """Light, colour cast, haze, blur and noise."""
    n = len(scenes)
    cast = np.exp(rng.normal(0, 0.13, (n, 1, 1, 3))).astype(np.float32)
    x, y = rotate(*pixel_grid(n), uniform(rng, 0, 2 * np.pi, n))
    slope = 1 + uniform(rng, -0.35, 0.35, n) * x / SIDE * 2
    images = images * cast * (scenes.light[:, None, None] * slope)[..., None]
    veil = rng.uniform(0.3, 0.9, (n, 1, 1, 3)).astype(np.float32)
    haze = scenes.haze[:, None, None, None]
    images = images * (1 - haze) + veil * haze
    images = blur(images, scenes.soft)
    return images + rng.standard_normal(images.shape, dtype=np.float32) * scenes.noise[:, None, None, None]


def render(rng: np.random.Generator, scenes: Scenes) -> np.ndarray:
    """Draw the scenes: uint8 array of shape (n, SIDE, SIDE, 3)."""
    n = len(scenes)
    x, y = _view(rng, scenes)
    mask = shapes.coverage(scenes.shape, x, y, scenes.period[:, None, None], scenes.thickness[:, None, None])
    paint = colours.shade(rng, scenes.colour) * (1 + uniform(rng, 0, 0.2, n) * smooth_field(rng, n, 4))[..., None]
    images = _grounds(rng, scenes)
    images = images + mask[..., None] * (paint - images)
    images = _camera(rng, scenes, _occlude(rng, images))
    return as_picture(images)
