"""Tip-Adapter's cache model (arXiv 2111.03930, section 3): zero-shot logits and what similar training images say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.head import Head, require_shapes
from caspl.probe.features import Features

LEAST = 0.1
"""Where the grids of both factors begin."""
CHUNK = 2**24
"""Numbers that the search holds at a time."""


class Cache(Head, kind="cache"):
    """Logits ``scale * f W' + alpha * exp(-beta (1 - f K')) V``.

    f is the normalised feature of an image, W those of the class texts, K (keys) those of the training images and V
    their labels, one-hot.

    Args:
        images: how many are kept.
        classes, width: how many logits and features there are.
        scale: of the zero-shot cosines.
        alpha: weight of the cache.
        beta: how fast its say falls with the distance.
        learns: whether the keys train (Tip-Adapter-F).
    """

    labels: Tensor
    text: Tensor
    alpha: Tensor
    beta: Tensor
    scale: Tensor
    values: Tensor

    def __init__(
        self, images: int, classes: int, width: int, scale: float, alpha: float, beta: float, learns: bool = False
    ) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.zeros(images, width), learns)
        # Class numbers as floats: a checkpoint holds no other tensors.
        self.register_buffer("labels", torch.zeros(images))
        self.register_buffer("text", torch.zeros(classes, width))
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        self.register_buffer("beta", torch.tensor(float(beta)))
        self.register_buffer("scale", torch.tensor(float(scale)), persistent=False)
        self.register_buffer("values", torch.zeros(images, classes), persistent=False)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], scale: float) -> Cache:
        images, classes, width = len(tensors["keys"]), *tensors["text"].shape
        made = cls(images, classes, width, scale, 1.0, 1.0)
        made.take(tensors, range(classes), classes)
        return made

    @property
    def classes(self) -> int:
        return len(self.text)

    @property
    def width(self) -> int:
        return self.keys.shape[1]

    @torch.no_grad()
    def fill(self, keys: Tensor, labels: Tensor, text: Tensor) -> None:
        """Keep some images.

        Args:
            keys: normalised features (images, embed_dim).
            labels: (images,) class numbers.
            text: normalised features (classes, embed_dim) of the class texts.
        """
        self.keys.copy_(keys)
        self.labels.copy_(labels)
        self.text.copy_(text)
        self.values = F.one_hot(labels, text.shape[0]).float()

    def forward(self, features: Tensor, alpha: float | None = None, beta: float | None = None) -> Tensor:
        """As every head's; ``alpha`` and ``beta`` may be others than its own."""
        with torch.autocast(features.device.type, enabled=False):
            image = F.normalize(features.float(), dim=-1)
            said = _said(image @ self.keys.t(), self.values, self.beta if beta is None else beta)
            return self.scale * image @ self.text.t() + (self.alpha if alpha is None else alpha) * said

    def take(self, tensors: Mapping[str, Tensor], classes: Sequence[int], known: int) -> None:
        width, images, device = self.keys.shape[1], tensors["labels"].numel(), self.keys.device
        kept_by = {"keys": (images, width), "labels": (images,), "text": (known, width)}
        require_shapes(tensors, {**kept_by, "alpha": (), "beta": ()})
        if not images or not len(classes):
            raise ValueError("there are no images or no classes")
        if not 0 <= tensors["labels"].min() <= tensors["labels"].max() < known:
            raise ValueError(f"a label is none of its {known} classes")
        place = torch.full((known,), -1, device=tensors["labels"].device)
        place[torch.as_tensor(classes)] = torch.arange(len(classes), device=place.device)
        labels = place[tensors["labels"].long()]
        kept = labels >= 0
        self.keys = nn.Parameter(tensors["keys"][kept].to(device), self.keys.requires_grad)
        self.labels = labels[kept].float().to(device)
        self.text = tensors["text"][torch.as_tensor(classes)].to(device)
        self.alpha, self.beta = tensors["alpha"].to(device), tensors["beta"].to(device)
        # By place: a class that is asked for twice has two columns.
        whole = F.one_hot(tensors["labels"][kept].long(), known).float()
        self.values = whole[:, torch.as_tensor(classes, device=whole.device)].to(device)


@torch.no_grad()
def search_factors(
    cache: Cache, val: Features, tops: tuple[float, float], steps: tuple[int, int]
) -> tuple[float, float, float]:
    """The alpha and beta of a grid that are right most often on the validation images; the first of equals.

    Args:
        cache: its own factors play no part.
        val: features of the validation images.
        tops: where the grids of beta and alpha end, which begin at :data:`LEAST`; the ends are no part of them.
        steps: how many values of each there are.

    Returns:
        alpha, beta and their accuracy on the validation images, in percent.
    """
    betas, alphas = (
        [LEAST + place * (top - LEAST) / count for place in range(count)]
        for top, count in zip(tops, steps, strict=True)
    )
    image = F.normalize(val.values.float(), dim=-1)
    factors = torch.tensor(alphas, device=image.device)[:, None, None]
    hits = torch.zeros(len(betas), len(alphas), dtype=torch.long, device=image.device)
    rows = max(1, CHUNK // max(len(cache.keys), len(alphas) * len(cache.text)))
    for some, labels in zip(image.split(rows), val.labels.split(rows), strict=True):
        near, plain = some @ cache.keys.t(), cache.scale * some @ cache.text.t()
        for row, beta in zip(hits, betas, strict=True):
            logits = plain + factors * _said(near, cache.values, beta)
            row += (logits.argmax(dim=-1) == labels).sum(dim=-1)
    best = int((hits == hits.max()).flatten().nonzero()[0])
    number, place = divmod(best, len(alphas))
    return alphas[place], betas[number], 100 * float(hits.max()) / len(image)


def _said(near: Tensor, values: Tensor, beta: Tensor | float) -> Tensor:
    """What kept images say (batch, classes), by their cosines with the images asked for (batch, kept)."""
    return torch.exp(-beta * (1 - near)) @ values
