"""A frozen teacher: it looks at the student's batch and gives class logits (CasPL, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from caspl.model import class_logits
from caspl.towers import CLIP, tokenize

Normalisation = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of the three channels, of pixels in 0..1."""


class Teacher:
    """Zero-shot CLIP with one text template. Not a module: it can slip neither into train mode nor into a file.

    Args:
        clip: its parameters are frozen.
        texts: one text a class.
        given: normalisation that the incoming images have, the student's.
        wanted: normalisation that the teacher was trained with.
    """

    def __init__(self, clip: CLIP, texts: Sequence[str], given: Normalisation, wanted: Normalisation) -> None:
        self.clip = clip.freeze()
        device = clip.logit_scale.device
        with torch.no_grad():
            ids = tokenize(texts, clip.sizes.context_length).to(device)
            self.text = F.normalize(clip.encode_text(ids).float(), dim=-1)
        mean, std, own_mean, own_std = (
            torch.tensor(list(values), device=device).view(3, 1, 1) for values in (*given, *wanted)
        )
        self._factor, self._shift = std / own_std, (mean - own_mean) / own_std
        self._same = torch.equal(mean, own_mean) and torch.equal(std, own_std)

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """The student's images (batch, 3, h, w) -> normalised features (batch, embed_dim), float32."""
        if not self._same:
            images = images * self._factor + self._shift
        side = self.clip.sizes.resolution
        if images.shape[-1] != side:
            images = F.interpolate(images.float(), (side, side), mode="bicubic", antialias=True, align_corners=False)
        return F.normalize(self.clip.encode_image(images).float(), dim=-1)

    @torch.no_grad()
    def logits(self, images: Tensor, scale: Tensor | None = None) -> Tensor:
        """Class logits (batch, classes) of the student's images.

        Args:
            scale: factor of the cosines; None takes the teacher's own. CasPL's release takes the student's.
        """
        factor = self.clip.logit_scale.float().exp() if scale is None else scale
        return class_logits(factor, self.encode_image(images), self.text)
