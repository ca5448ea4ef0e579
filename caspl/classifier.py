"""A prompted CLIP whose classes are fixed: images in, logits out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.head import Head
from caspl.prompts.sets import AnyTexts
from caspl.prompts.vision import VisionCascade
from caspl.towers.text import TextTower
from caspl.towers.vision import VisionTower


class Classifier(nn.Module):
    """The image tower with its tokens, the features of the classes, and the scale. Made by ``PromptedCLIP.fixed``.

    Args:
        visual: the image tower; shared, not copied.
        vision: its cascade.
        classnames: one a column of the logits.
        scale: exp(logit_scale), float32.
        features: normalised class features (classes, embed_dim), or (1, samples, classes, embed_dim), float32.
        texts: instead of features: texts that depend on the image.
        head: instead of features: what classifies features of images that are not normalised.
        text_tower: for ``texts``; shared, not copied.
    """

    features: Tensor | None
    scale: Tensor

    def __init__(
        self,
        visual: VisionTower,
        vision: VisionCascade,
        classnames: Sequence[str],
        scale: Tensor,
        features: Tensor | None = None,
        texts: AnyTexts | None = None,
        text_tower: TextTower | None = None,
        head: Head | None = None,
    ) -> None:
        super().__init__()
        self.classnames = list(classnames)
        self.visual, self.vision = visual, vision
        self.texts, self.text_tower, self.head = texts, text_tower, head
        self.register_buffer("features", features)
        self.register_buffer("scale", scale)

    def with_features(self, classnames: Sequence[str], features: Tensor) -> Classifier:
        """The same image tower with other classes."""
        made = Classifier(self.visual, self.vision, classnames, self.scale, features)
        return made.requires_grad_(False).eval()

    def only(self, places: Sequence[int]) -> Classifier:
        """The same image tower with some of the classes, which must not depend on the image."""
        names = [self.classnames[place] for place in places]
        if self.head is not None:
            made = Classifier(self.visual, self.vision, names, self.scale, head=self.head.only(places))
            return made.requires_grad_(False).eval()
        assert self.features is not None
        return self.with_features(names, self.features[..., list(places), :])

    def classes_by(self) -> dict[str, Tensor]:
        """The tensors that tell its classes, which must not depend on the image: features, or those of the head."""
        if self.head is not None:
            return dict(self.head.state_dict())
        assert self.features is not None
        return {"features": self.features}

    def encode_image(self, images: Tensor) -> Tensor:
        """(batch, 3, resolution, resolution), normalised pixels -> normalised features (batch, embed_dim), float32."""
        return self.vision(self.visual, images)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, classes), float32, of normalised images (batch, 3, resolution, resolution)."""
        if self.head is not None:
            return self.head(self.vision.features(self.visual, images))
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
    """Scaled cosines of normalised features in float32: (batch, classes).

    Args:
        scale: exp(logit_scale).
        image: (batch, embed_dim).
        text: (classes, embed_dim); (batch, classes, embed_dim) where each image has its own; or (batch or 1, samples,
            classes, embed_dim), of which logarithms of the probabilities' mean over the samples come.
    """
    with torch.autocast(image.device.type, enabled=False):
        if text.dim() == 4:
            each = torch.einsum("bd,blcd->blc", scale * image, text)
            return each.log_softmax(dim=-1).logsumexp(dim=1) - math.log(text.shape[1])
        if text.dim() == 3:
            return torch.einsum("bd,bcd->bc", scale * image, text)
        return scale * image @ text.t()
