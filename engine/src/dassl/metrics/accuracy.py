"""Top-k accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

__all__ = ["compute_accuracy"]


def compute_accuracy(output: Tensor | Sequence[Tensor], target: Tensor, topk: Sequence[int] = (1,)) -> list[Tensor]:
    """Compute the percentage of rows whose true class is among the k best.

    Args:
        output: logits, (batch, classes); of a tuple or list the first element is taken.
        target: labels, (batch,).
        topk: the values of k.

    Returns:
        One tensor of shape (1,) for each k, from 0 to 100.

    Raises:
        ValueError: a k exceeds the number of classes.
    """
    logits = output if isinstance(output, Tensor) else output[0]
    batch, classes = logits.shape
    if max(topk) > classes:
        raise ValueError(f"topk asks for the {max(topk)} best of {classes} classes")
    best = logits.topk(max(topk), dim=1).indices
    hits = best.eq(target.reshape(-1, 1)).float()
    return [hits[:, :k].sum().reshape(1) * (100.0 / batch) for k in topk]
