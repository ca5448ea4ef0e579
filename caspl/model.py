"""CLIP with prompts: two frozen towers, a cascade of segments in each, and a named output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.prompts.ensemble import TextEnsemble
from caspl.prompts.segment import AnySegment
from caspl.prompts.text import TextCascade
from caspl.prompts.vision import VisionCascade
from caspl.towers import CLIP

MOST_TEXTS = 4096  # that depend on the image, in the text tower at a time


class Output(NamedTuple):
    """What a prompted CLIP computes, in float32.

    Args:
        logits: (batch, classes), exp(logit_scale) times the cosine.
        image: (batch, embed_dim), normalised.
        text: (classes, embed_dim), or (batch, classes, embed_dim) if image-conditioned; normalised.
    """

    logits: Tensor
    image: Tensor
    text: Tensor


class PromptedCLIP(nn.Module):
    """A frozen CLIP and the segments that steer it. Without segments it is zero-shot CLIP.

    In evaluation mode and without gradients, or where nothing in the text learns, text features are computed once and
    kept until the next call of :meth:`train`, :meth:`set_classes` or :meth:`forget_text`.

    Args:
        clip: its parameters are frozen here.
        text, vision: the cascades.
        classnames: classes of the logits.
    """

    def __init__(
        self, clip: CLIP, text: TextCascade | TextEnsemble, vision: VisionCascade, classnames: Sequence[str]
    ) -> None:
        super().__init__()
        self.clip = clip.freeze()
        self.text = text
        self.vision = vision
        self._kept_text: Tensor | None = None
        self.set_classes(classnames)

    def set_classes(self, classnames: Sequence[str]) -> None:
        """Give the logits other classes; the segments stay."""
        self.text.set_classes(classnames, self.clip.text)
        self.forget_text()

    def forget_text(self) -> None:
        """Compute text features anew at the next call: the tokens have changed."""
        self._kept_text = None

    def train(self, mode: bool = True) -> PromptedCLIP:
        super().train(mode)
        self.clip.eval()  # frozen, whatever the mode of the prompts
        self.forget_text()
        return self

    @property
    def scale(self) -> Tensor:
        """exp(logit_scale)."""
        return self.clip.logit_scale.float().exp()

    def encode_image(self, images: Tensor) -> Tensor:
        """(batch, 3, resolution, resolution) -> normalised features (batch, embed_dim), float32."""
        return F.normalize(self.clip.visual(images, self.vision.refresh).float(), dim=-1)

    def encode_text(self, condition: Tensor | None = None) -> Tensor:
        """Normalised text features of the classes, float32; see :class:`Output`."""
        learns = any(value.requires_grad for value in self.text.parameters())
        keep = not self.text.conditional and not (learns and (self.training or torch.is_grad_enabled()))
        if keep and self._kept_text is not None:
            return self._kept_text
        features = F.normalize(self._text_features(condition).float(), dim=-1)
        self._kept_text = features if keep else None
        return features

    def forward(self, images: Tensor) -> Output:
        image = self.encode_image(images)
        text = self.encode_text(image if self.text.conditional else None)
        return Output(class_logits(self.scale, image, text), image, text)

    def _text_features(self, condition: Tensor | None) -> Tensor:
        """Features of the classes; image by image where they depend on it, a bounded number of texts at a time."""
        if condition is None:
            return self.text(self.clip.text)
        classes = len(self.text.classnames)
        parts = [self.text(self.clip.text, some) for some in condition.split(max(1, MOST_TEXTS // classes))]
        return torch.cat([part.view(-1, classes, part.shape[-1]) for part in parts])

    def segments(self) -> dict[str, AnySegment]:
        """``tower.name`` -> segment, for both towers."""
        found = {}
        for tower, cascade in (("text", self.text), ("vision", self.vision)):
            for name, segment in cascade.segments.items():
                found[f"{tower}.{name}"] = segment
        return found  # type: ignore[return-value]


def class_logits(scale: Tensor, image: Tensor, text: Tensor) -> Tensor:
    """Scaled cosines of normalised features in float32: (batch, classes)."""
    with torch.autocast(image.device.type, enabled=False):
        if text.dim() == 3:
            return torch.einsum("bd,bcd->bc", scale * image, text)
        return scale * image @ text.t()
