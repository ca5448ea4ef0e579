"""Scores of a list of predicted labels against the true ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["confusion_matrix", "macro_f1"]


def macro_f1(y_true: Sequence[int], y_pred: Sequence[int]) -> float:
    """Average the F1 scores, from 0 to 1, of the classes that occur in ``y_true``."""
    true, predicted = Counter(y_true), Counter(y_pred)
    hits = Counter(label for label, guess in zip(y_true, y_pred, strict=True) if label == guess)
    # 2TP + FP + FN is what was predicted plus what was there.
    scores = [2 * hits[label] / (true[label] + predicted[label]) for label in true]
    return sum(scores) / len(scores)


def confusion_matrix(y_true: Sequence[int], y_pred: Sequence[int]) -> Tensor:
    """Return the shares of the predictions for each true class, (labels, labels), float64.

    Rows (true) and columns (predicted) are the sorted labels that occur in either list. The row of a class
    that was never true is zero.
    """
    labels = {label: index for index, label in enumerate(sorted({*y_true, *y_pred}))}
    counts = torch.zeros(len(labels), len(labels), dtype=torch.float64)
    for label, guess in zip(y_true, y_pred, strict=True):
        counts[labels[label], labels[guess]] += 1
    return counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
