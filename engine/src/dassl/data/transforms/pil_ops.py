"""Operations on PIL images that the augmentation policies are made of, by their published names.

Each takes an image and a magnitude; the geometric ones turn its sign in half of the calls.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

__all__ = ["OPS", "Op"]

Op = Callable[[Image.Image, float], Image.Image]

_CUTOUT_COLOUR = (125, 123, 114)


def _mirrored(op: Op) -> Op:
    def mirrored(img: Image.Image, v: float) -> Image.Image:
        return op(img, -v if random.random() > 0.5 else v)

    return mirrored


def _affine(img: Image.Image, *matrix: float) -> Image.Image:
    return img.transform(img.size, Image.Transform.AFFINE, matrix)


def _shear_x(img: Image.Image, v: float) -> Image.Image:
    return _affine(img, 1, v, 0, 0, 1, 0)


def _shear_y(img: Image.Image, v: float) -> Image.Image:
    return _affine(img, 1, 0, 0, v, 1, 0)


def _translate_x_abs(img: Image.Image, v: float) -> Image.Image:
    return _affine(img, 1, 0, v, 0, 1, 0)


def _translate_y_abs(img: Image.Image, v: float) -> Image.Image:
    return _affine(img, 1, 0, 0, 0, 1, v)


def _translate_x(img: Image.Image, v: float) -> Image.Image:
    return _translate_x_abs(img, v * img.size[0])


def _translate_y(img: Image.Image, v: float) -> Image.Image:
    return _translate_y_abs(img, v * img.size[1])


def _rotate(img: Image.Image, v: float) -> Image.Image:
    return img.rotate(v)


def _posterize(img: Image.Image, v: float) -> Image.Image:
    return ImageOps.posterize(img, max(1, int(v)))


def _solarize(img: Image.Image, v: float) -> Image.Image:
    return ImageOps.solarize(img, v)  # type: ignore[arg-type]


def _solarize_add(img: Image.Image, v: float) -> Image.Image:
    lighter = np.clip(np.asarray(img).astype(int) + int(v), 0, 255).astype(np.uint8)
    return ImageOps.solarize(Image.fromarray(lighter), 128)


def _cutout_abs(img: Image.Image, v: float) -> Image.Image:
    width, height = img.size
    x = int(max(0, np.random.uniform(0, width) - v / 2))
    y = int(max(0, np.random.uniform(0, height) - v / 2))
    img = img.copy()
    ImageDraw.Draw(img).rectangle((x, y, min(width, x + v), min(height, y + v)), _CUTOUT_COLOUR)
    return img


def _enhancer(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Op:
    return lambda img, v: kind(img).enhance(v)


OPS: dict[str, Op] = {
    "AutoContrast": lambda img, v: ImageOps.autocontrast(img),
    "Brightness": _enhancer(ImageEnhance.Brightness),
    "Color": _enhancer(ImageEnhance.Color),
    "Contrast": _enhancer(ImageEnhance.Contrast),
    "CutoutAbs": _cutout_abs,
    "Equalize": lambda img, v: ImageOps.equalize(img),
    "Identity": lambda img, v: img,
    "Invert": lambda img, v: ImageOps.invert(img),
    "Posterize": _posterize,
    "Rotate": _mirrored(_rotate),
    "Sharpness": _enhancer(ImageEnhance.Sharpness),
    "ShearX": _mirrored(_shear_x),
    "ShearY": _mirrored(_shear_y),
    "Solarize": _solarize,
    "SolarizeAdd": _solarize_add,
    "TranslateX": _mirrored(_translate_x),
    "TranslateXabs": _mirrored(_translate_x_abs),
    "TranslateY": _mirrored(_translate_y),
    "TranslateYabs": _mirrored(_translate_y_abs),
}
