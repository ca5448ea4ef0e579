"""A frozen encoder as a teacher: it looks at the student's batch and gives class logits (CasPL, section 3.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from caspl.classifier import class_logits
from caspl.pixels import Adapt, Pixels
from caspl.prompts.described import mean_features
from caspl.step.batch import Batch
from caspl.store.encoder import encode_alike, rounded
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
    """Zero-shot CLIP, of whatever library, with a text or several a class.

    Attributes:
        identity: hash of its weights and preprocessing, for a store of its features.
        named: whether features are rounded as a store does, so that a run with a store has the same bits.

    Args:
        encoder: frozen; how wide its features are does not matter, since its logits are what is passed on.
        texts: one text a class, or several, whose normalised features are averaged.
        given: preprocessing that the incoming images have, the student's. They are normalised anew and resized for the
            encoder on the device.
    """

    named = False

    def __init__(self, encoder: Encoder, texts: Sequence[str] | Sequence[Sequence[str]], given: Pixels) -> None:
        self.encoder = encoder
        each = [(text,) if isinstance(text, str) else text for text in texts]
        self.text = mean_features(encoder.encode_text, each)
        self._adapt = Adapt(given, encoder.pixels, encoder.device)
        # Of what it makes of the student's images, beside its weights.
        seen = (encoder.identity, given.as_dict(), encoder.pixels.as_dict())
        self.identity = hashlib.sha256(repr(seen).encode()).hexdigest()[:16]

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """The student's images (batch, 3, h, w) -> normalised features (batch, embed_dim), float32."""
        return self.encoder.encode_image(self._adapt(images))

    @torch.no_grad()
    def logits(self, batch: Batch, scale: Tensor | None = None) -> Tensor:
        """See :meth:`Teacher.logits`."""
        factor = self.encoder.scale if scale is None else scale
        return class_logits(factor, self._features(batch), self.text)

    def _features(self, batch: Batch) -> Tensor:
        if batch.kept is not None:
            return batch.kept
        if self.named:
            return rounded(encode_alike(self, batch.first))
        return self.encode_image(batch.first)
