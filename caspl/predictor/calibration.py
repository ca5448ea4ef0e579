"""A temperature for a trained model's probabilities, set on validation images (Guo et al., arXiv 1706.04599).

It is kept beside the model, in a file of its own, and says for which tokens it holds.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caspl.errors import CasPLError
from caspl.files import write_json
from caspl.files.parse import parse_json

logger = logging.getLogger(__name__)

SUFFIX = "calibration.json"
COLDEST, HOTTEST = 1e-3, 1e3
"""Temperatures between which one is sought."""


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature by which logits are divided that makes the labels likeliest.

    The mean log-likelihood is concave in 1 / temperature, so that its slope has one zero.

    Args:
        logits: (images, classes).
        labels: (images,) places of the true classes.

    Raises:
        CasPLError: the images tell of none, since all of them or no more than chance are answered right.
    """
    logits = logits.double()
    true = logits.gather(1, labels[:, None])[:, 0]

    def slope(temperature: float) -> float:
        likely = (logits / temperature).softmax(dim=-1)
        return float((true - (likely * logits).sum(dim=-1)).mean())

    low, high = COLDEST, HOTTEST
    if slope(low) >= 0 or slope(high) <= 0:
        right = float((logits.argmax(dim=-1) == labels).float().mean())
        raise CasPLError(
            f"{len(labels)} pictures tell no temperature, with {100 * right:.1f}% of them answered right: take more"
        )
    for _ in range(100):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return (low * high) ** 0.5


def tokens_hash(tensors: Mapping[str, Tensor]) -> str:
    """Short SHA-256 of what a model has learned."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def place_of(path: Path) -> Path:
    """Where the temperature of a run's folder, or of a file, lies."""
    return path / SUFFIX if path.is_dir() else path.with_name(f"{path.name}.{SUFFIX}")


def write_temperature(path: Path, temperature: float, tokens: str, about: Mapping[str, Any]) -> Path:
    """Keep a temperature beside a model; returns the file.

    Args:
        path: of the run's folder or file.
        tokens: :func:`tokens_hash` of the model.
        about: of the images that it was set on.
    """
    return write_json(place_of(path), {"temperature": temperature, "tokens": tokens, **about})


def read_temperature(path: Path, tokens: str) -> float:
    """That which is kept beside a model; 1 if none is, or if it was set for other tokens, which is said.

    Raises:
        CasPLError: the file is damaged.
    """
    place = place_of(path)
    if not place.is_file():
        return 1.0
    try:
        said = parse_json(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CasPLError(f"{place} cannot be read ({error}): delete it, or run caspl calibrate again") from error
    temperature = said.get("temperature") if isinstance(said, dict) else None
    if not isinstance(temperature, int | float) or not COLDEST <= temperature <= HOTTEST:
        raise CasPLError(f"{place} holds no temperature: delete it, or run caspl calibrate again")
    if said.get("tokens") != tokens:
        logger.warning("%s was set for other tokens and is not used: run caspl calibrate again", place)
        return 1.0
    return float(temperature)


def of_features(features: Tensor) -> dict[str, Tensor]:
    """What a merged predictor has learned, for :func:`tokens_hash`: its class features."""
    return {"features": torch.as_tensor(features)}
