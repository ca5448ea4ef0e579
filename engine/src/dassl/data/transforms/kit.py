"""What transforms are made with: INPUT.BACKEND decides."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from yacs.config import CfgNode

from ...utils.logger import logger
from .interpolation import INTERPOLATION_MODES

__all__ = ["Kit", "choose_kit", "on_tensors"]

_BACKENDS = ("pil", "tensor")

# Made of PIL's operations; or, as an interpolation, one that rounds otherwise on tensors.
_PIL_ONLY = (
    "nearest",
    "random_translation",
    "imagenet_policy",
    "cifar10_policy",
    "svhn_policy",
    "randaugment",
    "randaugment_fixmatch",
    "randaugment2",
)


class Kit(NamedTuple):
    """torchvision's transforms for PIL images, or its v2 for tensors, whose classes have the same names."""

    T: Any
    mode: Any
    tensor: bool


def on_tensors(cfg: CfgNode) -> bool:
    """Return whether INPUT.BACKEND asks for tensors; ValueError unless it is "pil" or "tensor"."""
    backend = cfg.INPUT.BACKEND
    if backend not in _BACKENDS:
        raise ValueError(f"INPUT.BACKEND is {' or '.join(_BACKENDS)}, not {backend!r}")
    return backend == "tensor"


def choose_kit(cfg: CfgNode, choices: Collection[str] = ()) -> Kit:
    """Return the configured kit; with a line in the log that of PIL, if one of the transforms needs it."""
    from torchvision import transforms
    from torchvision.transforms import v2

    mode = INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION]
    if not on_tensors(cfg):
        return Kit(transforms, mode, tensor=False)
    names = [name for name in _PIL_ONLY if name in (*choices, cfg.INPUT.INTERPOLATION)]
    if names:
        logger.info("Note: in spite of INPUT.BACKEND tensor, PIL transforms the images, for %s", ", ".join(names))
        return Kit(transforms, mode, tensor=False)
    return Kit(v2, mode, tensor=True)
