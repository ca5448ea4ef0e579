"""AutoAugment (Cubuk et al., 2019): learned policies for ImageNet, CIFAR-10 and SVHN.

The tables of sub-policies are torchvision's. The operations are the ones of the first PyTorch version, which
differ from torchvision's in their ranges, fill colour and random draws.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

__all__ = ["CIFAR10Policy", "ImageNetPolicy", "SVHNPolicy"]

Op = Callable[[Image.Image, float], Image.Image]

_GREY = (128, 128, 128)
_STEPS = 10


class _Policy:
    """Applies one of 25 sub-policies: two operations, each with its own probability and magnitude."""

    name: str

    def __init__(self) -> None:
        from torchvision.transforms import AutoAugment, AutoAugmentPolicy

        self.policies = AutoAugment(AutoAugmentPolicy(self.name)).policies

    def __call__(self, img: Image.Image) -> Image.Image:
        index = random.randint(0, len(self.policies) - 1)
        for name, probability, level in self.policies[index]:
            if random.random() < probability:
                # Operations without a magnitude have no level.
                img = _OPS[name](img, 0.0 if level is None else _MAGNITUDES[name][level])
        return img


class ImageNetPolicy(_Policy):
    """The policy learned on ImageNet."""

    name = "imagenet"


class CIFAR10Policy(_Policy):
    """The policy learned on CIFAR-10."""

    name = "cifar10"


class SVHNPolicy(_Policy):
    """The policy learned on SVHN."""

    name = "svhn"


def _levels(first: float, last: float) -> list[float]:
    return np.linspace(first, last, _STEPS).tolist()


_MAGNITUDES: dict[str, list[float]] = {
    "ShearX": _levels(0, 0.3),
    "ShearY": _levels(0, 0.3),
    "TranslateX": _levels(0, 150 / 331),
    "TranslateY": _levels(0, 150 / 331),
    "Rotate": _levels(0, 30),
    "Color": _levels(0, 0.9),
    "Contrast": _levels(0, 0.9),
    "Sharpness": _levels(0, 0.9),
    "Brightness": _levels(0, 0.9),
    "Posterize": np.round(_levels(8, 4)).tolist(),
    "Solarize": _levels(256, 0),
}


def _signed(magnitude: float) -> float:
    return magnitude * random.choice([-1, 1])


def _affine(img: Image.Image, matrix: tuple[float, ...], smooth: bool = False) -> Image.Image:
    resample = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    return img.transform(img.size, Image.Transform.AFFINE, matrix, resample, fillcolor=_GREY)


def _rotate(img: Image.Image, magnitude: float) -> Image.Image:
    turned = img.convert("RGBA").rotate(magnitude)
    # The corners of the turned image are transparent.
    grey = Image.new("RGBA", turned.size, (128, 128, 128, 128))
    return Image.composite(turned, grey, turned).convert(img.mode)


def _enhancer(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Op:
    return lambda img, magnitude: kind(img).enhance(1 + _signed(magnitude))


_OPS: dict[str, Op] = {
    "ShearX": lambda img, m: _affine(img, (1, _signed(m), 0, 0, 1, 0), smooth=True),
    "ShearY": lambda img, m: _affine(img, (1, 0, 0, _signed(m), 1, 0), smooth=True),
    "TranslateX": lambda img, m: _affine(img, (1, 0, _signed(m * img.size[0]), 0, 1, 0)),
    "TranslateY": lambda img, m: _affine(img, (1, 0, 0, 0, 1, _signed(m * img.size[1]))),
    "Rotate": _rotate,
    "Color": _enhancer(ImageEnhance.Color),
    "Contrast": _enhancer(ImageEnhance.Contrast),
    "Sharpness": _enhancer(ImageEnhance.Sharpness),
    "Brightness": _enhancer(ImageEnhance.Brightness),
    "Posterize": lambda img, m: ImageOps.posterize(img, int(m)),
    "Solarize": lambda img, m: ImageOps.solarize(img, m),  # type: ignore[arg-type]
    "AutoContrast": lambda img, m: ImageOps.autocontrast(img),
    "Equalize": lambda img, m: ImageOps.equalize(img),
    "Invert": lambda img, m: ImageOps.invert(img),
}
