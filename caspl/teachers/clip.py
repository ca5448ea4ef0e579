"""A frozen encoder as a teacher: it looks at the student's batch and gives class logits (CasPL, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from caspl.classifier import class_logits
from caspl.pixels import Adapt, Pixels
from caspl.step.batch import Batch
from caspl.teachers.encoder import Encoder


class Teacher(Protocol):
    """Whatever knows the classes of a batch: a CLIP, a stored one, a trained cascade."""

    def logits(self, batch: Batch, scale: Tensor | None = None) -> Tensor:
        """Class logits (batch, classes), float32, without gradient.

        Args:
            batch: as the student sees it.
            scale: factor of the cosines; None takes the teacher's own. CasPL's release takes the student's.
        """


class CLIPTeacher:
    """Zero-shot CLIP, of whatever library, with one text a class.

    Args:
        encoder: frozen; how wide its features are does not matter, since its logits are what is passed on.
        texts: one text a class.
        given: preprocessing that the incoming images have, the student's. They are normalised anew and resized for the
            encoder on the device.
    """

    def __init__(self, encoder: Encoder, texts: Sequence[str], given: Pixels) -> None:
        self.encoder = encoder
        self.text = encoder.encode_text(texts)
        self._adapt = Adapt(given, encoder.pixels, encoder.device)

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """The student's images (batch, 3, h, w) -> normalised features (batch, embed_dim), float32."""
        return self.encoder.encode_image(self._adapt(images))

    @torch.no_grad()
    def logits(self, batch: Batch, scale: Tensor | None = None) -> Tensor:
        """See :meth:`Teacher.logits`."""
        factor = self.encoder.scale if scale is None else scale
        return class_logits(factor, self.encode_image(batch.images), self.text)
