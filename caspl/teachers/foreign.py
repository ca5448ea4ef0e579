"""A model of open_clip's as a frozen encoder: wrapped, not ported (SigLIP, EVA, MobileCLIP, CoCa and others)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.pixels import Pixels
from caspl.step.precision import Precision
from caspl.teachers.encoder import text_features
from caspl.zoo.identity import state_hash

Tokenizer = Callable[[list[str]], Tensor]
"""Texts -> token ids (texts, length)."""


class OpenClipEncoder:
    """Whatever has ``encode_image``, ``encode_text`` and ``logit_scale``, as open_clip's models do.

    Of a sigmoid model (SigLIP) the scale is used and the bias is not: one number added to all logits of an image
    changes no softmax. Weights stay in float32; where the precision asks for less, products are autocast.

    Args:
        model: its parameters are frozen, and it is moved to the precision's device.
        tokenizer: its own.
        name: as a config gives it.
        pixels: that it was trained with.
        precision: of its passes.
    """

    def __init__(self, model: Any, tokenizer: Tokenizer, name: str, pixels: Pixels, precision: Precision) -> None:
        self.identity = state_hash(model.state_dict(), type(model).__name__)
        self.model: nn.Module = model.requires_grad_(False).eval().to(precision.device)
        self.name, self.pixels, self._tokenizer, self._precision = name, pixels, tokenizer, precision

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.scale.device

    @property
    def scale(self) -> Tensor:
        """See :attr:`Encoder.scale`."""
        scale: Tensor = self.model.logit_scale  # type: ignore[assignment]
        return scale.detach().float().exp().reshape(())

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """See :meth:`Encoder.encode_image`."""
        with self._computing():
            found = self.model.encode_image(images.float())  # type: ignore[operator]
        return F.normalize(found.float(), dim=-1)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """See :meth:`Encoder.encode_text`."""
        with self._computing():
            return text_features(self.model.encode_text, self._tokenizer, texts, self.device)  # type: ignore[arg-type]

    def _computing(self) -> torch.autocast:
        """Autocast of its own, whatever is in force around it."""
        dtype = self._precision.computes
        lower = dtype != torch.float32
        return torch.autocast(self.device.type, dtype if lower else None, enabled=lower)
