"""CLIP with prompts: two frozen towers, a cascade of segments in each, and a named output."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.classifier import Classifier, class_logits
from caspl.prompts.prompts import Prompts
from caspl.prompts.segment import AnySegment, Segment
from caspl.prompts.sets import AnyTexts
from caspl.prompts.text import TextCascade
from caspl.prompts.vision import VisionCascade
from caspl.towers import CLIP

TextFeatures = dict[str, Tensor]
"""Name of a set of texts -> its normalised features (classes, embed_dim), or (batch, classes, embed_dim)."""


class Output(NamedTuple):
    """What a prompted CLIP computes, in float32.

    Args:
        logits: (batch, classes), exp(logit_scale) times the cosine.
        image: (batch, embed_dim), normalised.
        text: (classes, embed_dim), or (batch, classes, embed_dim) if image-conditioned; normalised. Of sampled tokens
            (batch or 1, samples, classes, embed_dim).
        others: likewise of further sets of texts, by name.
        chosen: (classes,) which of the model's classes these are, where they are not all.
    """

    logits: Tensor
    image: Tensor
    text: Tensor
    others: TextFeatures
    chosen: Tensor | None = None


class PromptedCLIP(nn.Module):
    """A frozen CLIP and the segments that steer it. Without segments it is zero-shot CLIP.

    Args:
        clip: its parameters are frozen here.
        text, vision: the cascades.
        classnames: classes of the logits.
        description: of the prompts; what checkpoints say of how the model is built.
        text_budget: bytes, see :meth:`caspl.towers.text.TextTower.classes`.
    """

    def __init__(
        self,
        clip: CLIP,
        text: AnyTexts,
        vision: VisionCascade,
        classnames: Sequence[str],
        description: Mapping[str, Any] | None = None,
        text_budget: int = 0,
    ) -> None:
        super().__init__()
        self.clip = clip.freeze()
        self.text = text
        self.vision = vision
        sizes = clip.sizes
        for name, segment in self.segments().items():
            width = sizes.text_width if name.startswith("text.") else sizes.vision_width
            if isinstance(segment, Segment) and segment.width != width:
                raise ValueError(f"the tokens {name} are {segment.width} wide, but the tower is {width}")
        self.description = dict(description or {})
        self.text_budget = text_budget
        self.set_classes(classnames)

    @classmethod
    def of(cls, clip: CLIP, prompts: Prompts, classnames: Sequence[str]) -> PromptedCLIP:
        """The model of some prompts, boosting ones among them, on the CLIP's device."""
        made = cls(clip, *prompts.cascade(), classnames, prompts.describe())
        return made.to(clip.logit_scale.device)

    def set_classes(self, classnames: Sequence[str]) -> None:
        """Give the logits other classes; the segments stay."""
        self.text.set_classes(classnames, self.clip.text)

    def for_classes(self, classnames: Sequence[str]) -> PromptedCLIP:
        """The same towers and segments (shared, not copied) with other classes; those of this model stay."""
        return PromptedCLIP(
            self.clip, self.text.again(), self.vision, classnames, self.description, self.text_budget
        ).to(self.clip.logit_scale.device)

    def train(self, mode: bool = True) -> PromptedCLIP:
        super().train(mode)
        self.clip.eval()  # frozen, whatever the mode of the prompts
        return self

    @property
    def scale(self) -> Tensor:
        """exp(logit_scale)."""
        return self.clip.logit_scale.float().exp()

    @property
    def text_learns(self) -> bool:
        """Whether class features change in training; where they do not, they are computed once before it."""
        return any(value.requires_grad for value in self.text.parameters())

    def encode_image(self, images: Tensor) -> Tensor:
        """(batch, 3, resolution, resolution) -> normalised features (batch, embed_dim), float32."""
        return self.vision(self.clip.visual, images)

    def encode_text(self, condition: Tensor | None = None) -> Tensor:
        """Normalised features ([batch,] classes, embed_dim) of the texts that classify, float32.

        Args:
            condition: normalised image features (batch, embed_dim), for image-conditioned tokens alone.
        """
        return next(iter(self.encode_texts(condition).values()))

    def encode_texts(self, condition: Tensor | None = None, chosen: Tensor | None = None) -> TextFeatures:
        """Likewise of every set of texts; those that classify come first.

        Args:
            condition: see :meth:`encode_text`.
            chosen: (chosen,) numbers of the classes that are wanted; None for all.
        """
        features = F.normalize(self.text(self.clip.text, condition, self.text_budget, chosen).float(), dim=-1)
        names = self.text.names
        if len(names) == 1:
            return {names[0]: features}
        return dict(zip(names, features.unbind(-3), strict=True))

    def text_outputs(self, chosen: Tensor | None = None) -> Tensor:
        """The last text block's outputs (classes, positions, width); see :meth:`caspl.prompts.TextCascade.outputs`.

        Raises:
            TypeError: there are several texts a class.
        """
        if not isinstance(self.text, TextCascade):
            raise TypeError("outputs at each position are those of one text a class")
        return self.text.outputs(self.clip.text, self.text_budget, chosen)

    def forward(
        self,
        images: Tensor,
        text: TextFeatures | None = None,
        chosen: Tensor | None = None,
        image: Tensor | None = None,
    ) -> Output:
        """Classify.

        Args:
            images: (batch, 3, resolution, resolution), normalised.
            text: class features that were computed before, of all classes; None computes them.
            chosen: (chosen,) numbers of the classes that the logits are of; None for all.
            image: normalised features (batch, embed_dim) of the images, where they are known; nothing looks at the
                images then.
        """
        if image is None:
            image = self.encode_image(images)
        if text is None:
            text = self.encode_texts(image if self.text.conditional else None, chosen)
        elif chosen is not None:
            text = {name: value.index_select(-2, chosen) for name, value in text.items()}
        first, *names = text
        others = {name: text[name] for name in names}
        return Output(class_logits(self.scale, image, text[first]), image, text[first], others, chosen)

    @torch.no_grad()
    def fixed(self) -> Classifier:
        """The classifier that this model is now, for tests, prediction and export; later training does not change it.

        Class features become a matrix. Where they depend on the image, the text tower stays in it.
        """
        parts = (self.clip.visual, self.vision.fixed(), self.text.classnames, self.clip.logit_scale.float().exp())
        if self.text.conditional:
            made = Classifier(*parts, texts=copy.deepcopy(self.text), text_tower=self.clip.text)
        else:
            training = self.training
            try:
                made = Classifier(*parts, features=self.eval().encode_text())
            finally:
                self.train(training)
        return made.requires_grad_(False).eval()

    def segments(self) -> dict[str, AnySegment]:
        """``tower.name`` -> segment, for both towers."""
        found = {}
        for tower, cascade in (("text", self.text), ("vision", self.vision)):
            for name, segment in cascade.segments.items():
                found[f"{tower}.{name}"] = segment
        return found  # type: ignore[return-value]
