"""Frozen encoders: pairs of towers that look at images and texts, whoever built them.

Whatever asks a frozen model (teachers, stores of features) asks for these four things alone: which one it is, which
pixels it takes, and its features of images and of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from caspl.pixels import Pixels
from caspl.towers import CLIP, tokenize
from caspl.zoo.identity import weights_hash

CHUNK = 128
"""Texts in a pass: a dictionary of twenty thousand names fits beside a large teacher."""


class Encoder(Protocol):
    """A frozen encoder.

    Attributes:
        name: as a config gives it.
        identity: hash of its weights.
        pixels: the images that it takes.
    """

    name: str
    identity: str
    pixels: Pixels

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def scale(self) -> Tensor:
        """Factor of its cosines, exp(logit_scale), float32."""

    def encode_image(self, images: Tensor) -> Tensor:
        """Images in its own pixels (batch, 3, size, size) -> normalised features (batch, embed_dim), float32."""

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Texts -> normalised features (texts, embed_dim), float32."""


class CLIPEncoder:
    """A CLIP of the classic layout, in our towers. Not a module: it can slip neither into train mode nor into a file.

    Args:
        clip: its parameters are frozen.
        name: as a config gives it.
        pixels: that it was trained with.
        identity: its weights hash, where ``clip`` was cast or folded since it was taken; empty: of ``clip``.
    """

    def __init__(self, clip: CLIP, name: str, pixels: Pixels, identity: str = "") -> None:
        self.identity = identity or weights_hash(clip)
        self.clip, self.name, self.pixels = clip.freeze(), name, pixels

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.clip.logit_scale.device

    @property
    def scale(self) -> Tensor:
        """See :attr:`Encoder.scale`."""
        return self.clip.logit_scale.float().exp()

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """See :meth:`Encoder.encode_image`."""
        return F.normalize(self.clip.encode_image(images).float(), dim=-1)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """See :meth:`Encoder.encode_text`."""
        length = self.clip.sizes.context_length
        return text_features(self.clip.encode_text, lambda some: tokenize(some, length), texts, self.device)


@torch.no_grad()
def text_features(
    encode: Callable[[Tensor], Tensor],
    tokenizer: Callable[[list[str]], Tensor],
    texts: Sequence[str],
    device: torch.device,
) -> Tensor:
    """Normalised features (texts, embed_dim), float32, of some texts at a time.

    Args:
        encode: token ids (texts, length) -> features.
        tokenizer: texts -> token ids.
        texts: any number.
        device: of the features.
    """
    parts = (list(texts[start : start + CHUNK]) for start in range(0, len(texts), CHUNK))
    return torch.cat([F.normalize(encode(tokenizer(part).to(device)).float(), dim=-1) for part in parts])
