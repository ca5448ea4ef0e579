"""A frozen encoder as the store asks it: who it is, and features that do not depend on the rest of the batch."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

CHUNK = 8
"""Images that an encoder looks at together, always: with other counts libraries choose kernels that round otherwise."""


class FrozenEncoder(Protocol):
    """Whatever looks at images and does not learn: a teacher, the student, the student with boosting tokens.

    Attributes:
        identity: a hash of all that its features depend on: weights, tokens, its own preprocessing.
    """

    identity: str

    def encode_image(self, images: Tensor) -> Tensor:
        """The student's images (batch, 3, h, w) -> normalised features (batch, width), float32."""


@torch.no_grad()
def encode_alike(encoder: FrozenEncoder, images: Tensor) -> Tensor:
    """Features (batch, width) of images, bit for bit the same in whatever batch an image comes."""
    parts = []
    for part in images.split(CHUNK):
        missing = CHUNK - part.shape[0]
        filled = torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) if missing else part
        parts.append(encoder.encode_image(filled)[: part.shape[0]])
    return torch.cat(parts)


def rounded(features: Tensor) -> Tensor:
    """What a store gives back of features: those that float16 can hold, in float32."""
    return features.half().float()
