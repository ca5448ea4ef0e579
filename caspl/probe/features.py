"""Features of a list of images, extracted once and kept where the model computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from caspl.group import Group
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
    encode: Callable[[Tensor], Tensor],
    loader: Iterable[Mapping[str, Any]],
    device: torch.device,
    what: str,
    group: Group | None = None,
) -> Features:
    """Look at every image of a loader once.

    Args:
        encode: normalised pixels (batch, 3, resolution, resolution) -> features (batch, embed_dim).
        loader: of Dassl's kind.
        what: the images, in the words of the progress bar; there is none where stderr is no terminal.
        group: of processes that have the images together, each one block of them; all get the features of all images.
    """
    values, labels = [], []
    hidden = True if group is not None and not group.writes else None
    for loaded in tqdm(loader, desc=f"features of {what}", leave=False, disable=hidden):
        batch = Batch.of(loaded, device)
        values.append(encode(batch.images).float())
        labels.append(batch.labels)
    if group is None or group.world == 1:
        return Features(torch.cat(values), torch.cat(labels))
    width = -int(group.least(torch.tensor(-values[0].shape[1] if values else 0)))  # a block may be empty
    return Features(
        group.cat(torch.cat(values) if values else torch.zeros(0, width, device=device)),
        group.cat(torch.cat(labels) if labels else torch.zeros(0, dtype=torch.long, device=device)),
    )
