"""The target data set `tinysat`: 20 classes of things seen from above, written as image files in CoOp's layout."""

from __future__ import annotations

import numpy as np

from caspl.tiny import colours, landscape, shapes

CLASSNAMES: tuple[str, ...] = (
    "red stripes", "orange grid", "white dots", "blue waves", "purple rings",
    "orange zigzags", "blue squares", "white bricks", "purple grid", "red waves",
    "white stripes", "blue grid", "red dots", "purple waves", "orange rings",
    "blue zigzags", "red squares", "purple bricks", "orange dots", "white rings",
)  # fmt: skip
"""Classes in the order of their labels: the first half is base, the second new; both halves use the same words."""

TEMPLATE = "an overhead photo of {}."
"""Text template of zero-shot models in this domain."""

SPLITS: dict[str, int] = {"train": 100, "val": 50, "test": 50}
"""Images of a class in each split."""


def render(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """One image for each label: uint8 array of shape (n, SIDE, SIDE, 3)."""
    words = [CLASSNAMES[label].split() for label in labels]
    colour = np.array([colours.NAMES.index(first) for first, _ in words])
    shape = np.array([shapes.NAMES.index(second) for _, second in words])
    return landscape.render(rng, shape, colour)
