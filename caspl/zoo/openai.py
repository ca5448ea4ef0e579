"""OpenAI's models: their names, where their files are looked for, and the sizes that a name promises."""

from __future__ import annotations

import os
from pathlib import Path

from caspl.errors import CasPLError
from caspl.towers import Sizes, read_state_dict
from caspl.towers.weights import read_header
from caspl.zoo.weights import Weights

OPENAI = {
    "ViT-B/32": ("ViT-B-32", Sizes(512, 224, 32, 768, 12, 512, 12)),
    "ViT-B/16": ("ViT-B-16", Sizes(512, 224, 16, 768, 12, 512, 12)),
    "ViT-L/14": ("ViT-L-14", Sizes(768, 224, 14, 1024, 24, 768, 12)),
    "ViT-L/14@336px": ("ViT-L-14-336", Sizes(768, 336, 14, 1024, 24, 768, 12)),
}
"""Name -> open_clip's architecture, which is also the stem of its file, and sizes."""


def from_folder(name: str, weights_dir: str | Path | None = None) -> Weights | None:
    """The weights of one of these models from a user's folder; None where it is not there.

    Args:
        name: one of ``OPENAI``.
        weights_dir: the folder; default ``$CASPL_WEIGHTS``, else ``~/.cache/clip``.

    Raises:
        CasPLError: the folder that was named is not there, or the file is of another model.
    """
    promised = OPENAI[name][1]
    path = find_file(name, weights_dir)
    if path is None:
        return None
    said = read_header(path)
    if said is not None and said["activation"] != "quick_gelu":
        raise CasPLError(f"{path} says {said['activation']}, which {name} is not: give another file")
    state = read_state_dict(path)
    if said is None:  # a header is written by who knows what the file is, such as a cut-down model for tests
        found = Sizes.of(state)
        differing = [key for key, value in promised.as_dict().items() if found.as_dict()[key] != value]
        if differing:
            key = differing[0]
            raise CasPLError(
                f"{path} is no {name}: its {key} is {found.as_dict()[key]}, not {promised.as_dict()[key]}; put the "
                "right file there, or give this one by its path"
            )
        return Weights(state)
    return Weights(state, heads=tuple(said["heads"]))


def find_file(name: str, weights_dir: str | Path | None = None) -> Path | None:
    """The file of one of these models in a user's folder, see :func:`from_folder`; None where there is none.

    Raises:
        CasPLError: the folder that was named is not there.
    """
    stem = OPENAI[name][0]
    given = weights_dir or os.environ.get("CASPL_WEIGHTS")
    folder = Path(given or Path.home() / ".cache" / "clip")
    if given and not folder.is_dir():
        raise CasPLError(f"there is no folder {folder} ($CASPL_WEIGHTS): let it name the folder of your weights files")
    stems = (stem, stem + "px") if stem.endswith("336") else (stem,)  # OpenAI's package writes the unit
    found = (folder / (one + suffix) for one in stems for suffix in (".pt", ".safetensors", ".pth"))
    return next((path for path in found if path.is_file()), None)
