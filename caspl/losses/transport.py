"""Exact optimal transport between two equally large sets, without waiting for the device (Prompt-OT)."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def assignment(cost: Tensor) -> Tensor:
    """The one-to-one assignment of rows to columns that costs least (Hungarian method, shortest augmenting paths).

    With uniform weights of equally many points this, divided by n, is an optimal transport plan. Every loop has its
    longest length and finished paths are masked, so that no value steers Python: a step with it can be recorded.

    Args:
        cost: (n, n), finite.

    Returns:
        (n,) column of each row.
    """
    n, device = len(cost), cost.device
    # Row and column 0 stand for none; double precision, since sums along a path are compared.
    padded = torch.nn.functional.pad(cost.double(), (1, 0, 1, 0))
    places = torch.arange(n + 1, device=device)
    row_price, column_price = padded.new_zeros(n + 1), padded.new_zeros(n + 1)
    row_of = torch.zeros_like(places)
    for row in range(1, n + 1):
        row_of = torch.where(places == 0, row, row_of)
        column = torch.zeros_like(places[:1])
        way, used, done = torch.zeros_like(places), places < 0, column > 0
        least = torch.full_like(row_price, float("inf"))
        for _ in range(row):
            used = used | ((places == column) & ~done)
            from_row = row_of.gather(0, column)
            slack = padded.index_select(0, from_row)[0] - row_price.gather(0, from_row) - column_price
            better = ~used & (slack < least) & ~done
            least, way = torch.where(better, slack, least), torch.where(better, column, way)
            smallest, following = torch.where(used, float("inf"), least).min(dim=0, keepdim=True)
            delta = torch.where(done, 0.0, smallest)
            row_price = row_price.scatter_add(0, row_of, torch.where(used, delta, 0.0))
            column_price = column_price - torch.where(used, delta, 0.0)
            least = torch.where(used, least, least - delta)
            column = torch.where(done, column, following)
            done = row_of.gather(0, column) == 0
        for _ in range(row):
            before = way.gather(0, column)
            row_of = torch.where(places == column, row_of.gather(0, before), row_of)
            column = before
    return torch.empty_like(places).scatter(0, row_of, places)[1:] - 1


def transport(student: Tensor, reference: Tensor) -> Tensor:
    """Mean of half the squared distances along the optimal plan between two (n, width) sets.

    The plan itself has no gradient.
    """
    cost = torch.cdist(student.float(), reference.float(), compute_mode="donot_use_mm_for_euclid_dist").square() / 2
    pairs = reference.float().index_select(0, assignment(cost.detach()))
    return (student.float() - pairs).square().sum(dim=-1).mean() / 2
