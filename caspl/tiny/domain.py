"""The domains of the tiny benchmark: what is in them, in which look, and how they are called.

`tinysat` is the target. Three more show its classes in another look, as ImageNet's shifts show ImageNet's, and
`tinycloth` shows other classes: what is trained on `tinysat` can be tested on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from caspl.tiny import cloth, colours, landscape, mosaic, pencil, shapes


class Look(Protocol):
    """Draws pictures in the look of a domain."""

    def __call__(self, rng: np.random.Generator, shape: np.ndarray, colour: np.ndarray) -> np.ndarray:
        """One picture for each pair of structure and colour: uint8 array of shape (n, SIDE, SIDE, 3)."""


@dataclass(frozen=True)
class Domain:
    """A drawn data set.

    Args:
        name: of its folder.
        classnames: "colour structure", in the order of the labels: the first half is base, the second new.
        template: text template of zero-shot models.
        splits: images of a class in each split.
        look: draws it.
        stream: of random numbers, beside seed and split.
        version: of the drawing; raised whenever the pictures of a seed change.
    """

    name: str
    classnames: tuple[str, ...]
    template: str
    splits: Mapping[str, int]
    look: Look
    stream: tuple[int, ...]
    version: int = 1

    def rng(self, split: str, seed: int) -> np.random.Generator:
        """The random numbers of a split: its pictures do not depend on the size of the others."""
        return np.random.default_rng((seed, list(self.splits).index(split), *self.stream))

    def labels(self, split: str) -> np.ndarray:
        """The label of each picture of a split."""
        return np.repeat(np.arange(len(self.classnames)), self.splits[split])

    def render(self, rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
        """One picture for each label: uint8 array of shape (n, SIDE, SIDE, 3)."""
        words = [self.classnames[label].split() for label in labels]
        colour = np.array([colours.NAMES.index(first) for first, _ in words])
        shape = np.array([shapes.NAMES.index(second) for _, second in words])
        return self.look(rng, shape, colour)


CLASSNAMES: tuple[str, ...] = (
    "red stripes", "orange grid", "white dots", "blue waves", "purple rings",
    "orange zigzags", "blue squares", "white bricks", "purple grid", "red waves",
    "white stripes", "blue grid", "red dots", "purple waves", "orange rings",
    "blue zigzags", "red squares", "purple bricks", "orange dots", "white rings",
)  # fmt: skip
"""Classes of `tinysat`; both halves use the same words."""
TEMPLATE = "an overhead photo of {}."
CLOTHS: tuple[str, ...] = (
    "green checks", "pink stars", "teal dashes", "yellow triangles", "black crosses", "brown cells", "pink ripples",
    "green spirals", "yellow checks", "teal stars", "black dashes", "green triangles", "pink crosses", "teal cells",
    "brown ripples", "yellow spirals",
)  # fmt: skip
"""Classes of `tinycloth`: neither their colours nor their structures are in `tinysat`."""
RENDERED = CLASSNAMES[::2] + CLASSNAMES[1:12:2]
"""Classes of `tinysat_r`, in an order of their own: a shift may show some of the classes, as ImageNet-R does."""

SPLITS: dict[str, int] = {"train": 100, "val": 50, "test": 50}
TESTED: dict[str, int] = {"train": 16, "val": 50, "test": 50}
"""Splits of what is only tested on."""

TINYSAT = Domain("tinysat", CLASSNAMES, TEMPLATE, SPLITS, landscape.render, ())
DOMAINS: dict[str, Domain] = {
    domain.name: domain
    for domain in (
        TINYSAT,
        Domain("tinysat_v2", CLASSNAMES, TEMPLATE, TESTED, landscape.render_anew, (1,)),
        Domain("tinysat_sketch", CLASSNAMES, TEMPLATE, TESTED, pencil.render, (2,)),
        Domain("tinysat_r", RENDERED, TEMPLATE, TESTED, mosaic.render, (3,)),
        Domain("tinycloth", CLOTHS, "a photo of {}.", TESTED, cloth.render, (4,)),
    )
}
