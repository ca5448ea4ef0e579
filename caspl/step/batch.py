"""What a step is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """A batch of a loader, on the device.

    Args:
        images: (batch, 3, resolution, resolution), normalised.
        labels: (batch,) class numbers; phase 1 does not look at them.
        index: (batch,) places of the images in their list, on the CPU, if the loader tells.
        paths: files of the images, if the loader tells.
        kept: features (batch, width) that a store has of these images, float32, if there is one.
        share: of several processes that have a batch together, the part of its images that these are, from 0 to 1. With
            0 they are there to compute with, and count for nothing.
    """

    images: Tensor
    labels: Tensor
    index: Tensor | None = None
    paths: Sequence[str] = ()
    kept: Tensor | None = None
    share: float = 1.0

    @classmethod
    def of(cls, loaded: Mapping[str, Any], device: torch.device, share: float = 1.0) -> Batch:
        """From what a loader of Dassl's kind yields: ``img``, ``label`` and perhaps ``index`` and ``impath``."""
        images, labels = (loaded[key].to(device, non_blocking=True) for key in ("img", "label"))
        return cls(images, labels, loaded.get("index"), loaded.get("impath", ()), share=share)
