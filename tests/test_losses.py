"""Optimal transport without the host, against SciPy's."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from caspl.losses import assignment, transport


@pytest.mark.parametrize("n", [1, 2, 4, 9, 32])
def test_the_assignment_is_optimal(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    for _ in range(5):
        cost = torch.rand(n, n, generator=generator)
        _, columns = linear_sum_assignment(cost.numpy())
        assert assignment(cost).tolist() == columns.tolist()


def test_equal_costs_give_an_assignment_too() -> None:
    assert sorted(assignment(torch.zeros(5, 5)).tolist()) == list(range(5))


def test_the_plan_is_followed_and_has_no_gradient() -> None:
    """By hand: the second point moves to the first one's place, and the first by 1."""
    student = torch.tensor([[0.0, 0.0], [3.0, 0.0]], requires_grad=True)
    value = transport(student, torch.tensor([[3.0, 0.0], [0.0, 1.0]]))
    assert value.item() == 0.25
    value.backward()
    assert student.grad is not None
    assert student.grad.tolist() == [[0.0, -0.5], [0.0, 0.0]]
