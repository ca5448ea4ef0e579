"""What a step is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

VIEWS = 5
"""Dimensions of images in several views."""


@dataclass(frozen=True)
class Batch:
    """A batch of a loader, on the device.

    Args:
        images: (batch, 3, resolution, resolution), normalised; with several views of each
            (views, batch, 3, resolution, resolution).
        labels: (batch,) class numbers; phase 1 does not look at them.
        index: (batch,) places of the images in their list, on the CPU, if the loader tells.
        paths: files of the images, if the loader tells.
        kept: features (batch, width) that a store has of these images, float32, if there is one: a teacher's.
        image: likewise what the student's image tower makes of them, where nothing in it learns.
        reference: likewise what a frozen reference makes of them.
        share: of several processes that have a batch together, the part of its images that these are, from 0 to 1. With
            0 they are there to compute with, and count for nothing.
    """

    images: Tensor
    labels: Tensor
    index: Tensor | None = None
    paths: Sequence[str] = ()
    kept: Tensor | None = None
    image: Tensor | None = None
    reference: Tensor | None = None
    share: float = 1.0

    @property
    def first(self) -> Tensor:
        """The views that are classified, (batch, 3, resolution, resolution)."""
        return self.images[0] if self.images.dim() == VIEWS else self.images

    @property
    def last(self) -> Tensor:
        """Other views of the same images, where there are any; else the same."""
        return self.images[-1] if self.images.dim() == VIEWS else self.images

    @property
    def stored(self) -> dict[str, Tensor]:
        """The features that are there, by name."""
        found = {"kept": self.kept, "image": self.image, "reference": self.reference}
        return {name: value for name, value in found.items() if value is not None}

    def with_tensors(self, images: Tensor, labels: Tensor, stored: Sequence[Tensor]) -> Batch:
        """Another batch with features of the same kinds.

        Args:
            images, labels: as here.
            stored: the features, in the order of :attr:`stored`.
        """
        named = dict(zip(self.stored, stored, strict=True))
        kept, image, reference = (named.get(name) for name in ("kept", "image", "reference"))
        return Batch(images, labels, kept=kept, image=image, reference=reference)

    @classmethod
    def of(cls, loaded: Mapping[str, Any], device: torch.device, share: float = 1.0) -> Batch:
        """From what a loader of Dassl's kind yields: ``img``, ``label`` and perhaps ``index`` and ``impath``.

        With ``DATALOADER.K_TRANSFORMS`` above 1 ``img`` is a list of that many views.
        """
        views, labels = loaded["img"], loaded["label"].to(device, non_blocking=True)
        images = torch.stack(list(views)) if isinstance(views, list | tuple) else views
        images = images.to(device, non_blocking=True)
        return cls(images, labels, loaded.get("index"), loaded.get("impath", ()), share=share)
