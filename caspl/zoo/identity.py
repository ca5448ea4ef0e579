"""Which CLIP it is: a hash of its weights, and whether tokens belong to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from caspl.errors import CasPLError
from caspl.towers import CLIP


def weights_hash(clip: CLIP) -> str:
    """Short SHA-256 of a CLIP's weights, the identity that boosting files record for their student."""
    digest = hashlib.sha256()
    for key, value in sorted(clip.openai_state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().to("cpu", torch.float16).contiguous().numpy().tobytes())
    read_as = (clip.activation, clip.sizes.heads)
    if read_as != ("quick_gelu", replace(clip.sizes, vision_heads=0, text_heads=0).heads):  # not as OpenAI's
        digest.update(repr(read_as).encode())
    return digest.hexdigest()[:16]


def state_hash(state: Mapping[str, Tensor], kind: str) -> str:
    """Short SHA-256 of the weights of a model that is not of the classic layout.

    Args:
        state: name -> tensor, as the model has them.
        kind: what the model is called; models of two kinds are two, whatever their weights.
    """
    digest = hashlib.sha256(kind.encode())
    for key, value in sorted(state.items()):
        digest.update(f"{key}{tuple(value.shape)}".encode())
        whole = value.detach().to("cpu", torch.float32 if value.is_floating_point() else torch.int64)
        digest.update(whole.contiguous().numpy().tobytes())
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
