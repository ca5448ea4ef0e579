"""The names that a CLIP can be given by."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import Tensor

from caspl.errors import CasPLError
from caspl.tiny import load_state_dict
from caspl.towers import CLIP, read_state_dict
from caspl.towers.weights import read_header
from caspl.zoo.published import by_architecture, from_open_clip
from caspl.zoo.weights import SUFFIXES, Weights, from_file

logger = logging.getLogger(__name__)

SHIPPED: dict[str, Callable[[], dict[str, Tensor]]] = {
    f"tiny-{model}": partial(load_state_dict, model) for model in ("student", "teacher")
}
"""Names of weights that come with the library -> their reader."""

OPENAI_NAMES = {
    "ViT-B/32": "ViT-B-32",
    "ViT-B/16": "ViT-B-16",
    "ViT-L/14": "ViT-L-14",
    "ViT-L/14@336px": "ViT-L-14-336",
}


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
    architecture, _, rest = name.partition(":")
    if rest and len(architecture) > 1 and not Path(name).is_file():  # one letter is a drive
        return by_architecture(architecture, rest)
    if Path(name).suffix in SUFFIXES:
        return from_file(Path(name))
    if name in OPENAI_NAMES:
        local = _local_file(OPENAI_NAMES[name], weights_dir)
        if local is not None:
            said = read_header(local)
            if said is not None and said["activation"] != "quick_gelu":
                raise CasPLError(f"{local} says {said['activation']}, which {name} is not: give another file")
            return Weights(read_state_dict(local))
        return from_open_clip(OPENAI_NAMES[name] + "-quickgelu", "openai", name)
    if name.startswith("RN"):
        raise CasPLError(f"{name} has a ResNet image tower, which has no tokens to prompt: use a ViT, e.g. ViT-B/16")
    known = ", ".join([*SHIPPED, *OPENAI_NAMES])
    raise CasPLError(
        f"unknown CLIP {name!r}: give a weights file (.pt, .safetensors), an open_clip pair ARCHITECTURE:TAG or "
        f"ARCHITECTURE:FILE, or one of {known}"
    )


def _local_file(stem: str, weights_dir: str | Path | None) -> Path | None:
    given = weights_dir or os.environ.get("CASPL_WEIGHTS")
    folder = Path(given or Path.home() / ".cache" / "clip")
    if given and not folder.is_dir():
        raise CasPLError(f"there is no folder {folder} ($CASPL_WEIGHTS): let it name the folder of your weights files")
    stems = (stem, stem + "px") if stem.endswith("336") else (stem,)  # OpenAI's package writes the unit
    found = (folder / (one + suffix) for one in stems for suffix in (".pt", ".safetensors", ".pth"))
    return next((path for path in found if path.is_file()), None)
