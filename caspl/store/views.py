"""Views of images that have names: a function of the image's identity, the view's number and a seed alone."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from caspl.errors import CasPLError

RATIO = (3 / 4, 4 / 3)
"""Of the sides of a random box, as torchvision's and the published configs' default."""
TRIES = 10
"""Boxes that are drawn before the middle of the image is taken, as torchvision does."""
KNOWN = {"random_resized_crop", "random_flip", "normalize"}


@dataclass(frozen=True)
class View:
    """What is seen of an image: a box in its pixels, resized, and perhaps mirrored.

    Args:
        top, left, height, width: the box, in pixels of the image.
        flip: whether it is mirrored from left to right.
        size: (height, width) to which the box is resized.
    """

    top: int
    left: int
    height: int
    width: int
    flip: bool
    size: tuple[int, int]


@dataclass(frozen=True)
class ViewPlan:
    """Which views there are.

    Args:
        size: (height, width) of every view.
        scale: least and most share of the area that a box takes; None for the whole image.
        flips: whether every second view is mirrored, by chance.
        seed: of the plan. It is no run's: all runs see the same views.
    """

    size: tuple[int, int]
    scale: tuple[float, float] | None = None
    flips: bool = True
    seed: int = 0

    @classmethod
    def of(
        cls, transforms: Collection[str], size: tuple[int, int], scale: tuple[float, float], seed: int = 0
    ) -> ViewPlan:
        """The plan of some transforms, by their names in ``INPUT.TRANSFORMS``.

        Raises:
            CasPLError: there are others than crop, flip and normalisation, which no record of a view holds.
        """
        others = [name for name in transforms if name not in KNOWN]
        if others or "normalize" not in transforms:
            found = f"has {others[0]}" if others else "lacks normalize"
            raise CasPLError(
                f"views with names are made by {', '.join(sorted(KNOWN))} alone, but INPUT.TRANSFORMS {found}: change "
                "it, or leave TRAINER.CASPL.STORE and VIEWS out"
            )
        boxes = scale if "random_resized_crop" in transforms else None
        return cls(size, boxes, "random_flip" in transforms, seed)

    def view(self, image: str, number: int, height: int, width: int) -> View:
        """A view of an image, the same each time.

        Args:
            image: its identity.
            number: of the view, from 0.
            height, width: of the image, in pixels.
        """
        # Python promises that random() gives the same numbers for an integer seed in all its versions.
        draw = random.Random(_hash(image, number, self.seed)).random
        flip = draw() < 0.5 and self.flips
        box = (0, 0, height, width) if self.scale is None else _box(draw, height, width, self.scale)
        return View(*box, flip, self.size)

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON, for headers."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def _box(draw: Any, height: int, width: int, scale: tuple[float, float]) -> tuple[int, int, int, int]:
    """A random box by the rule of torchvision's RandomResizedCrop: area uniform, ratio uniform in its logarithm."""
    for _ in range(TRIES):
        area = height * width * (scale[0] + draw() * (scale[1] - scale[0]))
        ratio = math.exp(math.log(RATIO[0]) + draw() * (math.log(RATIO[1]) - math.log(RATIO[0])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(draw() * (height - h + 1)), int(draw() * (width - w + 1)), h, w
    w, h = width, height
    if width / height < RATIO[0]:
        h = round(width / RATIO[0])
    elif width / height > RATIO[1]:
        w = round(height * RATIO[1])
    return (height - h) // 2, (width - w) // 2, h, w


def _hash(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big")
