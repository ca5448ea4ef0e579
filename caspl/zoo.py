"""Find a CLIP by the name that a config gives: a file, one of the shipped tiny pair, or a published model."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caspl.errors import CasPLError
from caspl.tiny import load_state_dict
from caspl.towers import CLIP, read_state_dict, tokenize

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
        name: a path to a weights file; ``tiny-student`` or ``tiny-teacher``; an OpenAI name such as
            ``ViT-B/16``; or an open_clip pair ``ARCHITECTURE:TAG`` of the classic CLIP layout.
        weights_dir: folder searched for OpenAI's files (``ViT-B-16.pt``) before anything is downloaded;
            default ``$CASPL_WEIGHTS``, else ``~/.cache/clip``, where OpenAI's own package keeps them.

    Raises:
        CasPLError: for an unknown name, a missing file, or weights that cannot be downloaded.
    """
    state_dict, activation = find_weights(name, weights_dir)
    return CLIP.from_state_dict(state_dict, activation).freeze()


def find_weights(name: str, weights_dir: str | Path | None = None) -> tuple[dict[str, Tensor], str]:
    """The state dict behind a name, and the activation that it was trained with."""
    if name in SHIPPED:
        return SHIPPED[name](), "quick_gelu"
    if Path(name).suffix in (".pt", ".pth", ".safetensors", ".bin"):
        return read_state_dict(name), "quick_gelu"
    if name in OPENAI_NAMES:
        local = _local_file(OPENAI_NAMES[name], weights_dir)
        if local is not None:
            return read_state_dict(local), "quick_gelu"
        return _from_open_clip(OPENAI_NAMES[name] + "-quickgelu", "openai", name)
    if ":" in name:
        architecture, tag = name.split(":", 1)
        return _from_open_clip(architecture, tag, name)
    known = ", ".join([*SHIPPED, *OPENAI_NAMES])
    raise CasPLError(
        f"unknown CLIP {name!r}: give a weights file (.pt, .safetensors), an open_clip pair ARCHITECTURE:TAG, "
        f"or one of {known}"
    )


def weights_hash(clip: CLIP) -> str:
    """Short SHA-256 of a CLIP's weights, the identity that boosting files record for their student."""
    digest = hashlib.sha256()
    for key, value in sorted(clip.openai_state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().to("cpu", torch.float16).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def require_student(what: str, made_for: tuple[str, str], here: tuple[str, str]) -> None:
    """Refuse tokens that were made for another student.

    Args:
        what: whose student is asked for, e.g. ``the boosting file X``.
        made_for, here: name and weights hash of its student, and of the one at hand.

    Raises:
        CasPLError: naming both.
    """
    if made_for[1] != here[1]:
        raise CasPLError(
            f"{what} were made for the student {made_for[0]} (weights {made_for[1]}), but this is {here[0]} "
            f"(weights {here[1]})"
        )


def _local_file(stem: str, weights_dir: str | Path | None) -> Path | None:
    folder = Path(weights_dir or os.environ.get("CASPL_WEIGHTS") or Path.home() / ".cache" / "clip")
    found = (folder / (stem + suffix) for suffix in (".pt", ".safetensors", ".pth"))
    return next((path for path in found if path.is_file()), None)


def _from_open_clip(architecture: str, tag: str, name: str) -> tuple[dict[str, Tensor], str]:
    import open_clip

    if tag not in open_clip.list_pretrained_tags_by_model(architecture):
        raise CasPLError(f"open_clip has no weights {architecture}:{tag} (see open_clip.list_pretrained())")
    try:
        # open_clip draws weights on the CPU before it loads them; a run's seed must not notice.
        with torch.random.fork_rng(devices=[]):
            model = open_clip.create_model(architecture, pretrained=tag, device="cpu", precision="fp32").eval()
    except Exception as error:  # network, disk and hub errors of several libraries
        raise CasPLError(
            f"the weights of {name} could not be downloaded ({type(error).__name__}); put the file "
            f"{OPENAI_NAMES.get(name, architecture)}.pt into the folder $CASPL_WEIGHTS or give its path"
        ) from error
    state = {key: value for key, value in model.state_dict().items() if key != "attn_mask"}
    for activation in ("quick_gelu", "gelu"):  # neither is written in the weights
        if computes_the_same(model, state, activation):
            return state, activation
    raise CasPLError(f"{name} is not a CLIP of the classic layout (another head width, pooling or text tower)")


def computes_the_same(model: Any, state: dict[str, Tensor], activation: str) -> bool:
    """Whether our towers, given these weights, compute what open_clip's model does."""
    try:
        ours = CLIP.from_state_dict(state, activation)
    except CasPLError:
        return False
    side = ours.sizes.resolution
    images = torch.linspace(-1, 1, 3 * side * side).view(1, 3, side, side)
    ids = tokenize(["a photo of a cat.", "a dog."], ours.sizes.context_length)
    with torch.no_grad():
        pairs = (
            (ours.encode_image(images), model.encode_image(images)),
            (ours.encode_text(ids), model.encode_text(ids)),
        )
        return all(bool((a - b).abs().max() < 1e-3 * b.abs().max()) for a, b in pairs)
