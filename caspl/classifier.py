"""A prompted CLIP whose classes are fixed: images in, logits out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.prompts.sets import AnyTexts
from caspl.prompts.vision import VisionCascade
from caspl.towers import CLIP
from caspl.towers.vision import VisionTower


class Classifier(nn.Module):
    """The image tower with its tokens, the features of the classes, and the scale. Made by ``PromptedCLIP.fixed``.

    Args:
        clip: its towers are shared, not copied; the text tower is kept only where ``texts`` are given.
        vision: the image tower's cascade.
        classnames: one a column of the logits.
        features: normalised class features (classes, embed_dim), float32.
        texts: instead of features: texts that depend on the image.
    """

    features: Tensor | None
    scale: Tensor

    def __init__(
        self,
        clip: CLIP,
        vision: VisionCascade,
        classnames: Sequence[str],
        features: Tensor | None = None,
        texts: AnyTexts | None = None,
    ) -> None:
        super().__init__()
        self.classnames = list(classnames)
        self.visual, self.vision = clip.visual, vision
        self.texts = texts
        self.text_tower = None if texts is None else clip.text
        self.register_buffer("features", features)
        self.register_buffer("scale", clip.logit_scale.detach().float().exp())

    @classmethod
    def of_parts(
        cls, visual: VisionTower, vision: VisionCascade, classnames: Sequence[str], features: Tensor, scale: Tensor
    ) -> Classifier:
        """Of an image tower alone.

        Args:
            visual: the tower; shared, not copied.
            vision, classnames, features: see :class:`Classifier`.
            scale: exp(logit_scale).
        """
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made.classnames = list(classnames)
        made.visual, made.vision, made.texts, made.text_tower = visual, vision, None, None
        made.register_buffer("features", features)
        made.register_buffer("scale", scale)
        return made

    def with_features(self, classnames: Sequence[str], features: Tensor) -> Classifier:
        """The same image tower with other classes."""
        made = Classifier.of_parts(self.visual, self.vision, classnames, features, self.scale)
        return made.requires_grad_(False).eval()

    def encode_image(self, images: Tensor) -> Tensor:
        """(batch, 3, resolution, resolution), normalised pixels -> normalised features (batch, embed_dim), float32."""
        return self.vision(self.visual, images)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, classes), float32, of normalised images (batch, 3, resolution, resolution)."""
        return self.classify(self.encode_image(images))

    def classify(self, image: Tensor) -> Tensor:
        """Logits (batch, classes), float32, of normalised image features (batch, embed_dim)."""
        return class_logits(self.scale, image, self._class_features(image))

    def _class_features(self, image: Tensor) -> Tensor:
        if self.features is not None:
            return self.features
        assert self.texts is not None
        features = F.normalize(self.texts(self.text_tower, image).float(), dim=-1)
        return features if len(self.texts.names) == 1 else features.select(-3, 0)


def class_logits(scale: Tensor, image: Tensor, text: Tensor) -> Tensor:
    """Scaled cosines of normalised features in float32: (batch, classes)."""
    with torch.autocast(image.device.type, enabled=False):
        if text.dim() == 3:
            return torch.einsum("bd,bcd->bc", scale * image, text)
        return scale * image @ text.t()
