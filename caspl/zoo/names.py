"""The names that a CLIP can be given by."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import Tensor

from caspl.errors import CasPLError
from caspl.tiny import load_state_dict
from caspl.towers import CLIP
from caspl.zoo.openai import OPENAI, find_file, from_folder
from caspl.zoo.published import by_architecture, from_open_clip
from caspl.zoo.weights import SUFFIXES, Weights, from_file

logger = logging.getLogger(__name__)

SHIPPED: dict[str, Callable[[], dict[str, Tensor]]] = {
    f"tiny-{model}": partial(load_state_dict, model) for model in ("student", "teacher")
}
"""Names of weights that come with the library -> their reader."""


def load_clip(name: str, weights_dir: str | Path | None = None) -> CLIP:
    """Load a CLIP in float32, frozen.

    Args:
        name: ``tiny-student`` or ``tiny-teacher``; an OpenAI name such as ``ViT-B/16``; an open_clip pair
            ``ARCHITECTURE:TAG`` of the classic CLIP layout, or ``ARCHITECTURE:FILE`` with a file of such weights; or
            the path of a file that is OpenAI's, or says its activation and heads
            (:func:`caspl.towers.weights.write_clip`).
        weights_dir: folder searched for OpenAI's files (``ViT-B-16.pt``) before anything is downloaded;
            default ``$CASPL_WEIGHTS``, else ``~/.cache/clip``, where OpenAI's own package keeps them.

    Raises:
        CasPLError: for an unknown name, a missing file, one that does not say how it is to be read, or weights that
            cannot be downloaded.
    """
    found = find_weights(name, weights_dir)
    try:
        clip = CLIP.from_state_dict(found.state_dict, found.activation, found.heads).freeze()
    except CasPLError as error:
        raise CasPLError(f"{name}: {error}") from error
    logger.info(
        "%s: %s, %d heads in the image tower and %d in the text tower", name, found.activation, *clip.sizes.heads
    )
    return clip


def find_weights(name: str, weights_dir: str | Path | None = None) -> Weights:
    """The weights behind a name."""
    if name in SHIPPED:
        return Weights(SHIPPED[name]())
    architecture, rest = architecture_of(name)
    if architecture:
        return by_architecture(architecture, rest)
    if Path(name).suffix in SUFFIXES:
        return from_file(Path(name))
    if name in OPENAI:
        local = from_folder(name, weights_dir)
        return local or from_open_clip(OPENAI[name][0] + "-quickgelu", "openai", name)
    if name.startswith("RN"):
        raise CasPLError(f"{name} has a ResNet image tower, which has no tokens to prompt: use a ViT, e.g. ViT-B/16")
    known = ", ".join([*SHIPPED, *OPENAI])
    raise CasPLError(
        f"unknown CLIP {name!r}: give a weights file (.pt, .safetensors), an open_clip pair ARCHITECTURE:TAG or "
        f"ARCHITECTURE:FILE, or one of {known}"
    )


def at_hand(name: str, weights_dir: str | Path | None = None) -> bool:
    """Whether a name's weights are a file on this machine, or come with the library; what open_clip has fetched before
    is not looked for."""
    if name in SHIPPED or Path(name).is_file() or Path(architecture_of(name)[1] or "none").is_file():
        return True
    return name in OPENAI and find_file(name, weights_dir) is not None


def architecture_of(name: str) -> tuple[str, str]:
    """The two parts of ``ARCHITECTURE:TAG`` or ``ARCHITECTURE:FILE``; two empty ones for any other name."""
    architecture, _, rest = name.partition(":")
    if not rest or len(architecture) < 2 or name in SHIPPED or Path(name).is_file():  # one letter is a drive
        return "", ""
    return architecture, rest
