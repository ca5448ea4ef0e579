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


@pytest.mark.parametrize("seed", range(20))
def test_assignments_with_equal_costs_cost_least(seed: int) -> None:
    """Few different costs: many plans are equally good, and any of them is right."""
    cost = torch.randint(0, 3, (12, 12), generator=torch.Generator().manual_seed(seed)).float()
    found = assignment(cost)
    assert sorted(found.tolist()) == list(range(12))
    rows, columns = linear_sum_assignment(cost.numpy())
    assert float(cost[range(12), found].sum()) == float(cost[rows, columns].sum())


def test_shifted_and_huge_costs_have_the_same_plan() -> None:
    cost = torch.rand(16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    columns = linear_sum_assignment(cost.numpy())[1].tolist()
    assert assignment(cost * 1e6 - 3e5).tolist() == columns
    assert assignment(cost * -1e-6 + 1e-3).tolist() == linear_sum_assignment(-cost.numpy())[1].tolist()


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
