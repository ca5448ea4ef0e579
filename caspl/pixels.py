"""The one preprocessing of a CLIP: how large its images are, how they are resized, and their statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from caspl.errors import CasPLError, first_line
from caspl.towers import Sizes

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
SAME = 1e-3  # of statistics that are written with few digits


@dataclass(frozen=True)
class Pixels:
    """What a CLIP takes.

    Args:
        size: side of the square image in pixels.
        mean, std: of the three channels, of pixels in 0..1.
        interpolation: by which images are resized.
        known: whether the statistics are the model's own; False where nothing tells them and OpenAI's are taken.
    """

    size: int
    mean: tuple[float, ...] = OPENAI_MEAN
    std: tuple[float, ...] = OPENAI_STD
    interpolation: str = "bicubic"
    known: bool = True

    def has(self, mean: Sequence[float], std: Sequence[float]) -> bool:
        """Whether these statistics are its own."""
        own, others = (*self.mean, *self.std), (*mean, *std)
        return len(own) == len(others) and all(abs(a - b) <= SAME for a, b in zip(own, others, strict=True))

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON, for headers."""
        found = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {key: value for key, value in found.items() if key != "known"}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any], what: str) -> Pixels:
        """As :meth:`as_dict` wrote it.

        Args:
            what: whose preprocessing, for the sentence.

        Raises:
            CasPLError: if it is damaged.
        """
        try:
            mean, std = (tuple(float(value) for value in said[key]) for key in ("mean", "std"))
            found = cls(int(said["size"]), mean, std, str(said["interpolation"]))
            if len(mean) != 3 or len(std) != 3 or not min(std) > 0 or not 0 < found.size < 10**5:
                raise ValueError("three channels, a size, and deviations above 0 are expected")
        except (KeyError, TypeError, ValueError) as error:
            raise CasPLError(f"what {what} says of its pictures is damaged: {first_line(error)}") from error
        return found


def pixels_of(name: str, sizes: Sizes) -> Pixels:
    """The preprocessing of a CLIP.

    Args:
        name: as :func:`caspl.zoo.load_clip` takes it. What open_clip has published for a pair ``ARCHITECTURE:TAG`` is
            taken from there; a weights file says nothing of its pixels and is read as OpenAI's.
        sizes: of the CLIP.
    """
    if Path(name).suffix:
        return Pixels(sizes.resolution, known=False)
    if ":" in name:
        architecture, tag = name.split(":", 1)
        return published_pixels(architecture, tag, sizes.resolution)
    return Pixels(sizes.resolution)


def published_pixels(architecture: str, tag: str, size: int) -> Pixels:
    """The preprocessing that open_clip has published with a model.

    Args:
        architecture: its name.
        tag: of its weights; empty for a file of weights, which is taken to be as all that are published for the
            architecture. Where these differ, or there are none, OpenAI's is taken and ``known`` is False.
        size: side of its images in pixels.
    """
    import open_clip

    tags = [tag] if tag else open_clip.list_pretrained_tags_by_model(architecture)
    published = [_of_published(open_clip.get_pretrained_cfg(architecture, one) or {}, size) for one in tags]
    agreed = bool(published) and all(one == published[0] for one in published)
    return published[0] if agreed else Pixels(size, known=False)


def _of_published(found: Mapping[str, Any], size: int) -> Pixels:
    mean, std = (tuple(found.get(key) or default) for key, default in (("mean", OPENAI_MEAN), ("std", OPENAI_STD)))
    return Pixels(size, mean, std, found.get("interpolation") or "bicubic")


class Adapt:
    """From the images that one CLIP takes to those of another: statistics first, then the size.

    Args:
        given: of the incoming images.
        wanted: of what comes out.
        device: where images are.
    """

    def __init__(self, given: Pixels, wanted: Pixels, device: torch.device) -> None:
        mean, std, own_mean, own_std = (
            torch.tensor(list(values), device=device).view(3, 1, 1)
            for values in (given.mean, given.std, wanted.mean, wanted.std)
        )
        self._factor, self._shift = std / own_std, (mean - own_mean) / own_std
        self._same = (given.mean, given.std) == (wanted.mean, wanted.std)
        self._side = wanted.size
        self._mode = wanted.interpolation if wanted.interpolation in ("bilinear", "bicubic") else "bicubic"

    def __call__(self, images: Tensor) -> Tensor:
        """(batch, 3, h, w) -> (batch, 3, size, size)."""
        if not self._same:
            images = images * self._factor + self._shift
        if images.shape[-1] == self._side:
            return images
        size = (self._side, self._side)
        return F.interpolate(images.float(), size, mode=self._mode, antialias=True, align_corners=False)
