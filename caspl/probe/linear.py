"""Logistic regression on image features (CLIP, arXiv 2103.00020, section 3.2), its strength chosen as in CoOp."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caspl.errors import CasPLError
from caspl.head import Head, require_shapes
from caspl.probe.features import Features

logger = logging.getLogger(__name__)

COARSE = (6, 4, 2, 0, -2, -4, -6)
"""Exponents of C that are tried first."""
HALVINGS = 8
"""Of the two decades around the best of them."""


class Linear(Head, kind="linear"):
    """A matrix and a bias.

    Args:
        classes, width: how many logits and features there are.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(classes, width))
        self.register_buffer("bias", torch.zeros(classes))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], scale: float = 1.0) -> Linear:
        classes, width = tensors["weight"].shape
        made = cls(classes, width)
        made.take(tensors, range(classes), classes)
        return made

    @property
    def classes(self) -> int:
        return len(self.weight)

    @property
    def width(self) -> int:
        return self.weight.shape[1]

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return features.float() @ self.weight.t() + self.bias

    def take(self, tensors: Mapping[str, Tensor], classes: Sequence[int], known: int) -> None:
        require_shapes(tensors, {"weight": (known, self.weight.shape[1]), "bias": (known,)})
        rows = torch.as_tensor(classes)
        self.weight = tensors["weight"][rows].to(self.weight.device)
        self.bias = tensors["bias"][rows].to(self.bias.device)


def fit(features: Features, classes: int, strength: float, max_iter: int) -> Linear:
    """The logistic regression of labelled features, on the CPU in float64.

    Args:
        features: of the training images.
        classes: how many there are.
        strength: C, the inverse of the L2 penalty's weight.
        max_iter: of L-BFGS; where they do not suffice, what they have reached is taken.

    Raises:
        CasPLError: scikit-learn is not installed, or a class has no image.
    """
    model = _fitted(*_arrays(features), classes, strength, max_iter)
    weight, bias = (torch.as_tensor(value, dtype=torch.float32) for value in (model.coef_, model.intercept_))
    if classes == 2:  # scikit-learn gives the second class's logit alone, the first one's being 0
        weight, bias = torch.cat([torch.zeros_like(weight), weight]), torch.cat([torch.zeros_like(bias), bias])
    head = Linear(classes, weight.shape[1])
    head.weight, head.bias = weight, bias
    return head


def search_strength(train: Features, val: Features, classes: int, max_iter: int) -> tuple[float, float]:
    """C as CoOp's linear probe chooses it (arXiv 2109.01134): a coarse grid, then halvings around its best.

    Of two ends of an interval of log10(C) the one that is right more often on the validation images stays, the lower
    one if both are, and the other moves to the middle. The end that stays last is chosen.

    Args:
        train, val: features of the images that are learned from, and of those that judge.
        classes, max_iter: see :func:`fit`.

    Returns:
        C and its accuracy on the validation images, in percent.
    """
    images, labels = _arrays(train)
    judged, answers = _arrays(val)
    tried: dict[float, float] = {}

    def accuracy(exponent: float) -> float:
        if exponent not in tried:
            model = _fitted(images, labels, classes, 10.0**exponent, max_iter)
            tried[exponent] = 100 * float(np.mean(model.predict(judged) == answers))
            logger.info("C %.4g: %.2f %% of the validation images", 10.0**exponent, tried[exponent])
        return tried[exponent]

    best = max(COARSE, key=accuracy)  # the first of equals
    low, high = best - 1.0, best + 1.0
    chosen = low
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if accuracy(low) < accuracy(high):
            chosen, low = high, middle
        else:
            chosen, high = low, middle
    logger.info("chosen by %d validation images: C %.4g", len(answers), 10.0**chosen)
    return 10.0**chosen, accuracy(chosen)


def _arrays(features: Features) -> tuple[Any, Any]:
    return features.values.cpu().double().numpy(), features.labels.cpu().numpy()


def _fitted(images: Any, labels: Any, classes: int, strength: float, max_iter: int) -> Any:
    try:
        # Late: no other method needs it.
        from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
        from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    except ImportError as error:
        raise CasPLError("the linear probe needs scikit-learn: pip install 'caspl[probe]'") from error
    found = len(np.unique(labels))
    if found < classes or classes < 2:
        raise CasPLError(
            f"a linear probe needs training images of two classes or more, and of each, not {found} of {classes}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(solver="lbfgs", C=strength, max_iter=max_iter).fit(images, labels)
