"""A CLIP with learned tokens as a frozen encoder: what a run has left teaches (PromptKD, arXiv 2403.02781)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caspl.build import build_model, class_specific, read_built
from caspl.errors import CasPLError
from caspl.model import PromptedCLIP
from caspl.pixels import Pixels, pixels_of
from caspl.prompts import Prompts
from caspl.step.precision import Precision
from caspl.teachers.encoder import CHUNK
from caspl.towers import CLIP
from caspl.zoo import load_clip
from caspl.zoo.identity import state_hash


class TunedEncoder:
    """See :class:`caspl.teachers.Encoder`. Its texts are class names: words around them are learned.

    Args:
        model: its parameters are frozen.
        name: where it comes from.
        identity: hash of its weights, tokens and words.
        pixels: that it was trained with.
        trained_on: what its checkpoint says of that.
    """

    def __init__(
        self, model: PromptedCLIP, name: str, identity: str, pixels: Pixels, trained_on: Mapping[str, Any]
    ) -> None:
        self.model = model.requires_grad_(False).eval()
        self.name, self.identity, self.pixels, self.trained_on = name, identity, pixels, dict(trained_on)

    @property
    def clip(self) -> CLIP:
        """The CLIP that carries the tokens."""
        return self.model.clip

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.clip.logit_scale.device

    @property
    def scale(self) -> Tensor:
        """See :attr:`caspl.teachers.Encoder.scale`."""
        return self.model.scale

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """See :meth:`caspl.teachers.Encoder.encode_image`."""
        return self.model.encode_image(images)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Class names -> normalised features (names, embed_dim), float32."""
        parts = (list(texts[start : start + CHUNK]) for start in range(0, len(texts), CHUNK))
        return torch.cat([self.model.for_classes(part).encode_text() for part in parts])


def names_a_run(name: str) -> bool:
    """Whether this is a folder or a checkpoint, and not the name of a CLIP."""
    return Path(name).is_dir() or ".pth.tar" in Path(name).name


def load_tuned(path: str, precision: Precision) -> TunedEncoder:
    """What a run has left, on a precision's device.

    Args:
        path: the run's folder (its best checkpoint, else its last), or a checkpoint.
        precision: in which it computes.

    Raises:
        CasPLError: there is none, it cannot be read, or its tokens are of its own classes or of each image alone.
    """
    found = read_built(path, heads=True)
    if found.head or found.given is not None:
        raise CasPLError(
            f"{found.path} has no text tower of its own: a teacher gives features of any class name, as PromptSRC does"
        )
    clip = load_clip(found.student)
    model = build_model(found, clip)
    if model.text.conditional or class_specific(model.text) or model.text.samples:
        raise CasPLError(
            f"the texts of {found.path} are made for each image, in samples, or for its own classes alone: a teacher "
            "gives one feature of any class name, as PromptSRC does"
        )
    own = pixels_of(found.student, clip.sizes)
    pixels = Pixels.from_dict(found.pixels, str(found.path)) if found.pixels else own
    identity = state_hash(found.tensors, f"{found.student_hash} {json.dumps(found.description, sort_keys=True)}")
    precision.place(clip, not Prompts.of(found.description).changes_norms)
    return TunedEncoder(model.to(precision.device), path, identity, pixels, found.trained_on)
