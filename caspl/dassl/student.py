"""The student that a config names, and whether the config's images are what it takes."""

from __future__ import annotations

import logging

from yacs.config import CfgNode

from caspl.errors import CasPLError
from caspl.pixels import Pixels, pixels_of
from caspl.towers import CLIP
from caspl.zoo import load_clip, weights_hash

logger = logging.getLogger(__name__)


def load_student(cfg: CfgNode) -> tuple[CLIP, str]:
    """The CLIP that ``MODEL.BACKBONE.NAME`` names, and its weights hash.

    Raises:
        CasPLError: if there is none, or if the images of the config have another size or other statistics.
    """
    name = cfg.MODEL.BACKBONE.NAME
    clip = load_clip(name)
    given, own = given_pixels(cfg), pixels_of(name, clip.sizes)
    if tuple(cfg.INPUT.SIZE) != (own.size, own.size):
        raise CasPLError(f"{name} takes images of {own.size} pixels, but INPUT.SIZE is {tuple(cfg.INPUT.SIZE)}")
    if given.interpolation != own.interpolation:
        resized = f"INPUT.INTERPOLATION is {given.interpolation}"
        logger.warning("%s, but %s was trained with %s", resized, name, own.interpolation)
    if not own.has(given.mean, given.std):
        mine = f"PIXEL_MEAN {_shown(own.mean)} and PIXEL_STD {_shown(own.std)}"
        said = f"INPUT.PIXEL_MEAN is {_shown(given.mean)} and INPUT.PIXEL_STD {_shown(given.std)}"
        if own.known:
            raise CasPLError(f"{name} was trained with {mine}, but {said}: set both to its own")
        logger.warning("%s: OpenAI's CLIPs were trained with %s; is this one not?", said, mine)
    return clip, weights_hash(clip)


def given_pixels(cfg: CfgNode) -> Pixels:
    """The preprocessing of the images that a config loads.

    Raises:
        CasPLError: if its statistics are none.
    """
    pixels = cfg.INPUT
    if {len(pixels.PIXEL_MEAN), len(pixels.PIXEL_STD)} != {3} or min(pixels.PIXEL_STD) <= 0:
        raise CasPLError(
            f"INPUT.PIXEL_MEAN and INPUT.PIXEL_STD hold three numbers each, those of the latter above 0, not "
            f"{list(pixels.PIXEL_MEAN)} and {list(pixels.PIXEL_STD)}"
        )
    return Pixels(pixels.SIZE[0], tuple(pixels.PIXEL_MEAN), tuple(pixels.PIXEL_STD), pixels.INTERPOLATION)


def _shown(numbers: tuple[float, ...]) -> str:
    return f"({', '.join(f'{number:g}' for number in numbers)})"
