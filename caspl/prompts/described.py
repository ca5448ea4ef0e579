"""Class features from texts that describe the classes, with no learned token (as CuPL, arXiv 2209.03320)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from caspl.prompts.beside import Beside
from caspl.prompts.class_texts import ClassTexts
from caspl.prompts.segment import AnySegment
from caspl.prompts.text import TextCascade
from caspl.towers.text import TextTower


def mean_features(encode: Callable[[Sequence[str]], Tensor], texts: Sequence[Sequence[str]]) -> Tensor:
    """Normalised features (classes, embed_dim): of each class the mean of its texts' own.

    Args:
        encode: texts -> normalised features.
        texts: of each class, at least one.
    """
    features = encode([text for own in texts for text in own])
    if len(features) == len(texts):
        return features
    return F.normalize(torch.stack([some.mean(0) for some in features.split(list(map(len, texts)))]), dim=-1)


class Described(Beside, kind="described"):
    """A head that puts the features of given texts in the place of all others.

    Args:
        name: see :class:`AnySegment`.
        given: the texts.
    """

    features: Tensor  # (classes, embed_dim)

    def __init__(self, name: str, given: ClassTexts) -> None:
        super().__init__(name)
        self.given = given

    @torch.no_grad()
    def set_classes(self, classnames: Sequence[str], tower: TextTower) -> None:
        def encode(texts: Sequence[str]) -> Tensor:
            cascade = TextCascade(tail="")
            cascade.set_classes(texts, tower)
            return F.normalize(cascade(tower).float(), dim=-1)

        self.register_buffer("features", mean_features(encode, self.given.of(classnames)), persistent=False)

    def finish(self, features: Tensor) -> Tensor:
        return self.features.expand_as(features)

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"texts": {name: list(texts) for name, texts in self.given.texts.items()}}

    @classmethod
    def of(cls, name: str, said: Mapping[str, Any], sources: Mapping[str, AnySegment]) -> AnySegment:
        texts = {str(key): tuple(map(str, texts)) for key, texts in said["texts"].items()}
        return cls(name, ClassTexts("the model", texts))
