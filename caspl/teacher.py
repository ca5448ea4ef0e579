"""A frozen teacher: it looks at the student's batch and gives class logits (CasPL, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from caspl.model import class_logits
from caspl.towers import CLIP, tokenize


class Teacher:
    """Zero-shot CLIP with one text template. Not a module: it can slip neither into train mode nor into a file.

    Args:
        clip: its parameters are frozen.
        texts: one text a class.
        student_mean, student_std: per-channel normalisation that the incoming images have.
        mean, std: normalisation that the teacher was trained with; None if it is the student's.
    """

    def __init__(
        self,
        clip: CLIP,
        texts: Sequence[str],
        student_mean: Sequence[float] = (0.0,),
        student_std: Sequence[float] = (1.0,),
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        self.clip = clip.freeze()
        device = clip.logit_scale.device
        with torch.no_grad():
            ids = tokenize(texts, clip.sizes.context_length).to(device)
            self.text = F.normalize(clip.encode_text(ids).float(), dim=-1)
        own_mean, own_std = (student_mean if mean is None else mean), (student_std if std is None else std)
        scale = torch.tensor(student_std) / torch.tensor(own_std)
        shift = (torch.tensor(student_mean) - torch.tensor(own_mean)) / torch.tensor(own_std)
        self._renormalise = (scale.view(-1, 1, 1).to(device), shift.view(-1, 1, 1).to(device))
        self._same = mean is None and std is None

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """The student's images (batch, 3, h, w) -> normalised features (batch, embed_dim), float32."""
        if not self._same:
            images = images * self._renormalise[0] + self._renormalise[1]
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
