"""Features of a list of images, extracted once and kept where the model computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from caspl.step import Batch


class Features(NamedTuple):
    """Of some images.

    Args:
        values: (images, embed_dim), float32, not normalised.
        labels: (images,) class numbers.
    """

    values: Tensor
    labels: Tensor


@torch.no_grad()
def extract(
    encode: Callable[[Tensor], Tensor], loader: Iterable[Mapping[str, Any]], device: torch.device, what: str
) -> Features:
    """Look at every image of a loader once.

    Args:
        encode: normalised pixels (batch, 3, resolution, resolution) -> features (batch, embed_dim).
        loader: of Dassl's kind.
        what: the images, in the words of the progress bar; there is none where stderr is no terminal.
    """
    values, labels = [], []
    for loaded in tqdm(loader, desc=f"features of {what}", leave=False, disable=None):
        batch = Batch.of(loaded, device)
        values.append(encode(batch.images).float())
        labels.append(batch.labels)
    return Features(torch.cat(values), torch.cat(labels))
