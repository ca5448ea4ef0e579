"""A frozen reference that a loss compares with: plain CLIP, or CLIP with some of the model's segments."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from caspl.model import PromptedCLIP
from caspl.prompts.described import mean_features
from caspl.prompts.templates import fill
from caspl.prompts.vision import VisionCascade
from caspl.step.batch import Batch
from caspl.teachers.encoder import text_features
from caspl.towers import tokenize


class Reference:
    """Frozen image features and class text features.

    Args:
        model: whose towers are used.
        templates: of the plain reference's texts; their features are averaged un-normalised (PromptSRC).
        texts: of each class, in the place of the templates; their normalised features are averaged.
        segments: names of the segments that belong to the reference; copies of their present values are kept.
            With any, the class text is the cascade cut to them, without template.
    """

    def __init__(
        self,
        model: PromptedCLIP,
        templates: Sequence[str],
        segments: Sequence[str] = (),
        texts: Sequence[Sequence[str]] = (),
    ) -> None:
        self._clip = model.clip
        self._vision = model.vision.only(segments).fixed()
        self.text = (
            mean_features(self._encode, texts) if texts and not segments else (self._texts(model, templates, segments))
        )

    @property
    def vision(self) -> VisionCascade:
        """Its tokens in the image tower."""
        return self._vision

    def text_of(self, chosen: Tensor | None) -> Tensor:
        """Its text features of the classes that an output is of, see :attr:`caspl.model.Output.chosen`."""
        return self.text if chosen is None else self.text.index_select(0, chosen)

    def image(self, batch: Batch) -> Tensor:
        """Its features (batch, embed_dim) of a batch: those that a store has kept, if there are any."""
        return self.encode_image(batch.first) if batch.reference is None else batch.reference

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """(batch, 3, resolution, resolution) -> normalised features (batch, embed_dim), float32."""
        return self._vision(self._clip.visual, images)

    @torch.no_grad()
    def each(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """Plain CLIP's normalised features (most, classes, embed_dim) of the texts of each class.

        Args:
            texts: of each class, at least one; those that have fewer than others begin again.
        """
        most = max(map(len, texts))
        flat = [own[number % len(own)] for number in range(most) for own in texts]
        return self._encode(flat).unflatten(0, (most, len(texts)))

    def _encode(self, texts: Sequence[str]) -> Tensor:
        """Plain CLIP's normalised features (texts, embed_dim), float32."""
        clip, length = self._clip, self._clip.sizes.context_length
        return text_features(clip.encode_text, lambda some: tokenize(some, length), texts, clip.logit_scale.device)

    @torch.no_grad()
    def _texts(self, model: PromptedCLIP, templates: Sequence[str], segments: Sequence[str]) -> Tensor:
        """Normalised text features (classes, embed_dim), float32."""
        names, clip = model.text.classnames, model.clip
        if segments:
            text = model.text.only(segments)
            text.set_classes(names, clip.text)
            return F.normalize(text(clip.text).float(), dim=-1)
        total = torch.zeros(len(names), clip.sizes.embed_dim, device=clip.logit_scale.device)
        for template in templates:
            ids = tokenize(fill(template, names), clip.sizes.context_length).to(total.device)
            total += clip.encode_text(ids).float()
        return F.normalize(total / len(templates), dim=-1)
