"""Distances between two sets of vectors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["compute_distance_matrix", "cosine_distance", "euclidean_squared_distance"]


def compute_distance_matrix(input1: Tensor, input2: Tensor, metric: str = "euclidean") -> Tensor:
    """Compute all distances between the rows of two matrices.

    Args:
        input1: (m, features).
        input2: (n, features).
        metric: "euclidean", which is squared, or "cosine".

    Returns:
        The distances, (m, n).

    Raises:
        AssertionError: an input is no matrix, or the numbers of features differ.
        ValueError: another metric.
    """
    for matrix in (input1, input2):
        if matrix.dim() != 2:
            raise AssertionError(f"Expected 2-D tensor, but got {matrix.dim()}-D")
    if input1.size(1) != input2.size(1):
        raise AssertionError(f"the numbers of features differ: {input1.size(1)} and {input2.size(1)}")
    if metric == "euclidean":
        return euclidean_squared_distance(input1, input2)
    if metric == "cosine":
        return cosine_distance(input1, input2)
    raise ValueError(f'Unknown distance metric: {metric}. Please choose either "euclidean" or "cosine"')


def euclidean_squared_distance(input1: Tensor, input2: Tensor) -> Tensor:
    """Compute squared Euclidean distances: (m, features) and (n, features) give (m, n)."""
    squares = input1.pow(2).sum(dim=1, keepdim=True) + input2.pow(2).sum(dim=1)
    return torch.addmm(squares, input1, input2.t(), alpha=-2)


def cosine_distance(input1: Tensor, input2: Tensor) -> Tensor:
    """Compute one minus the cosine similarity: (m, features) and (n, features) give (m, n)."""
    return 1 - F.normalize(input1, dim=1) @ F.normalize(input2, dim=1).t()
