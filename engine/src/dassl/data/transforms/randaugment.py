"""RandAugment (Cubuk et al., 2020) in the three variants of the field.

Each applies some operations of a list, drawn with replacement from Python's global generator. The order of a
list is part of its meaning: a seed draws by position.
"""

from __future__ import annotations

import random

from PIL import Image

from .pil_ops import OPS

__all__ = ["RandAugment", "RandAugment2", "RandAugmentFixMatch"]

# An operation and the range of its magnitude.
Entry = tuple[str, float, float]

_CLASSIC: list[Entry] = [
    ("AutoContrast", 0, 1),
    ("Equalize", 0, 1),
    ("Invert", 0, 1),
    ("Rotate", 0, 30),
    ("Posterize", 4, 8),
    ("Solarize", 0, 256),
    ("SolarizeAdd", 0, 110),
    ("Color", 0.1, 1.9),
    ("Contrast", 0.1, 1.9),
    ("Brightness", 0.1, 1.9),
    ("Sharpness", 0.1, 1.9),
    ("ShearX", 0.0, 0.3),
    ("ShearY", 0.0, 0.3),
    ("CutoutAbs", 0, 40),
    ("TranslateXabs", 0.0, 100),
    ("TranslateYabs", 0.0, 100),
]


def _uniform_entries(low: float, high: float, invert: bool) -> list[Entry]:
    entries: list[Entry] = [
        ("AutoContrast", 0, 1),
        ("Brightness", low, high),
        ("Color", low, high),
        ("Contrast", low, high),
        ("Equalize", 0, 1),
        ("Identity", 0, 1),
        ("Invert", 0, 1),
        ("Posterize", 4, 8),
        ("Rotate", -30, 30),
        ("Sharpness", low, high),
        ("ShearX", -0.3, 0.3),
        ("ShearY", -0.3, 0.3),
        ("Solarize", 0, 256),
        ("TranslateX", -0.3, 0.3),
        ("TranslateY", -0.3, 0.3),
    ]
    return [entry for entry in entries if invert or entry[0] != "Invert"]


class RandAugment:
    """Applies ``n`` operations, all at the same share of their range.

    Args:
        n: how many.
        m: the share, from 0 to 30.

    Raises:
        AssertionError: ``m`` is out of range.
    """

    def __init__(self, n: int = 2, m: float = 10) -> None:
        if not 0 <= m <= 30:
            raise AssertionError(f"the magnitude of RandAugment lies between 0 and 30, but got {m}")
        self.n = n
        self.m = m
        self.augment_list = _CLASSIC

    def __call__(self, img: Image.Image) -> Image.Image:
        for name, low, high in random.choices(self.augment_list, k=self.n):
            img = OPS[name](img, self.m / 30 * (high - low) + low)
        return img


class RandAugment2:
    """Applies up to ``n`` operations, each with probability ``p`` and at its own random magnitude.

    Args:
        n: how many at most.
        p: probability of each.
    """

    def __init__(self, n: int = 2, p: float = 0.6) -> None:
        self.n = n
        self.p = p
        self.augment_list = _uniform_entries(0.1, 1.9, invert=True)

    def __call__(self, img: Image.Image) -> Image.Image:
        for name, low, high in random.choices(self.augment_list, k=self.n):
            if random.random() <= self.p:
                img = OPS[name](img, random.random() * (high - low) + low)
        return img


class RandAugmentFixMatch:
    """Applies ``n`` operations, each at its own random magnitude.

    Args:
        n: how many.
    """

    def __init__(self, n: int = 2) -> None:
        self.n = n
        self.augment_list = _uniform_entries(0.05, 0.95, invert=False)

    def __call__(self, img: Image.Image) -> Image.Image:
        for name, low, high in random.choices(self.augment_list, k=self.n):
            img = OPS[name](img, random.random() * (high - low) + low)
        return img
