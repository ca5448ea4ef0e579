"""Pictures to begin with: some of a folder, or drawn ones, so that a page without any is not empty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from caspl.predictor.images import pictures_below, read_picture
from caspl.tiny.domain import TINYSAT

MOST = 24
"""Pictures of a folder; of more, some from all over it."""
SEED = 3  # no picture of a run's data set, which is of seed 1
DRAWN = 10


class Example(NamedTuple):
    """A picture that is read when somebody asks for it.

    Args:
        name: what it shows.
        read: gives it, in RGB.
    """

    name: str
    read: Callable[[], Image.Image]


def of_folder(folder: Path) -> list[Example]:
    """Some pictures of a folder and those below it.

    Raises:
        CasPLError: if there are none.
    """
    paths = pictures_below(folder)
    places = sorted({round(place) for place in np.linspace(0, len(paths) - 1, min(MOST, len(paths)))})
    return [_of_file(paths[place], folder) for place in places]


def drawn() -> list[Example]:
    """Pictures of the tiny benchmark's classes that are in none of its splits."""
    labels = np.linspace(0, len(TINYSAT.classnames) - 1, DRAWN).astype(int)
    pictures = TINYSAT.render(TINYSAT.rng("test", SEED), labels)
    return [
        Example(TINYSAT.classnames[label], lambda pixels=pixels: Image.fromarray(pixels))  # type: ignore[misc]
        for label, pixels in zip(labels, pictures, strict=True)
    ]


def _of_file(path: Path, folder: Path) -> Example:
    return Example(path.relative_to(folder).as_posix(), lambda: read_picture(path))
