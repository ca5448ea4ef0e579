"""A temperature for a trained model's probabilities, set on validation images (Guo et al., arXiv 1706.04599).

It is kept beside the model, in a file of its own, and says for which tokens it holds.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from caspl.errors import CasPLError
from caspl.files import write_json
from caspl.files.parse import parse_json
from caspl.zoo.identity import state_hash

logger = logging.getLogger(__name__)

SUFFIX = "calibration.json"
COLDEST, HOTTEST = 1e-3, 1e3
"""Temperatures between which one is sought."""
MERGED = ("predictor.json", "predictor.safetensors")
"""Files that stand for the folder that they lie in."""


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
    """Which tokens, or which class features, a temperature holds for."""
    return state_hash(tensors, "learned")


def place_of(path: Path) -> Path:
    """Where the temperature of a run's folder, or of a file, lies."""
    if path.is_dir() or path.name in MERGED:
        return (path if path.is_dir() else path.parent) / SUFFIX
    return path.with_name(f"{path.name}.{SUFFIX}")


def write_temperature(path: Path, temperature: float, tokens: str, about: Mapping[str, Any]) -> Path:
    """Keep a temperature beside a model; returns the file.

    Args:
        path: of the run's folder or file.
        tokens: :func:`tokens_hash` of the model.
        about: of the images that it was set on.
    """
    return write_json(place_of(path), {"temperature": temperature, "tokens": tokens, **about})


def read_temperature(path: Path, tokens: str, classes: Sequence[str], own: object = 1.0) -> float:
    """That which is kept beside a model; its own if none is, or if it was set for other tokens, which is said.

    Args:
        path: of the run's folder or file.
        tokens: :func:`tokens_hash` of the model.
        classes: among which it answers; that it was set among others is said.
        own: what the model's file says.

    Raises:
        CasPLError: the file is damaged.
    """
    place = place_of(path)
    if not place.is_file():
        return _checked(own, path)
    try:
        said = parse_json(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CasPLError(f"{place} cannot be read ({error}): delete it, or run caspl calibrate again") from error
    temperature = _checked(said.get("temperature") if isinstance(said, dict) else None, place)
    if said.get("tokens") != tokens:
        logger.warning("%s was set for other tokens and is not used: run caspl calibrate again", place)
        return _checked(own, path)
    if said.get("classes") != list(classes):
        logger.warning("%s was set among other classes: their number changes how sure a model is", place)
    return temperature


def _checked(temperature: object, place: Path) -> float:
    number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
    if not number or not COLDEST <= float(temperature) <= HOTTEST:  # type: ignore[arg-type]
        raise CasPLError(f"{place} holds no temperature: delete it, or run caspl calibrate again")
    return float(temperature)  # type: ignore[arg-type]
