"""Exact optimal transport between two equally large sets, without waiting for the device (Prompt-OT)."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def assignment(cost: Tensor) -> Tensor:
    """The one-to-one assignment of rows to columns that costs least.

    With uniform weights of equally many points this, divided by n, is an optimal transport plan. Rows and columns join
    in pairs. A new pair can be bettered only by a ring of rows through the new one, in which each takes the column of
    the next: the cheapest ring is found by the shortest paths from the new row, of one arc more each time. That is
    n^2 / 2 short rounds, none steered by a value, so that a step with it can be recorded.

    Costs are compared as whole numbers, so that equal ones are equal in every sum: exact to 2^-40 of their range for up
    to 255 points.

    Args:
        cost: (n, n), finite.

    Returns:
        (n,) column of each row.
    """
    n = len(cost)
    whole = _whole(cost)
    places = torch.arange(n, device=cost.device)
    column_of = places
    for new in range(n):
        rows, columns = places[: new + 1], column_of[: new + 1]
        taking = whole[: new + 1].index_select(1, columns)
        # What row i pays more for the column of row k. The 1 lets no ring cost nothing, and of equal ones the shortest
        # count: what lies on a shortest path then lies there once.
        more = (taking - taking.diagonal().unsqueeze(1)) * (n + 1) + 1
        ring = _ring(more, rows)
        column_of = torch.cat([torch.empty_like(columns).scatter(0, ring, columns), places[new + 1 :]])
    return column_of


FAR = 2**61
"""Longer than any path, and twice it still a number of 64 bits."""


def _whole(cost: Tensor) -> Tensor:
    """Costs as whole numbers, so fine that n + 1 times the longest path stays below :data:`FAR`."""
    n = len(cost)
    bits = min(52, 58 - 2 * (n + 1).bit_length())
    least, most = cost.double().aminmax()
    return ((cost.double() - least) / (most - least).clamp(min=torch.finfo().tiny) * 2**bits).round().long()


def _ring(more: Tensor, rows: Tensor) -> Tensor:
    """The cheapest ring through the last row, if it costs less than nothing.

    Args:
        more: (m, m) length of the arc from each row to each other; every ring without the last row is above 0.
        rows: (m,) their numbers.

    Returns:
        (m,) for each row the one that takes its column: the one before it in the ring, itself outside.
    """
    last, self_arc = rows[-1], rows.unsqueeze(1) == rows
    away = more.masked_fill(rows == last, FAR).masked_fill(self_arc, 0)  # no way back to the last row yet
    reached = away[-1]
    for _ in range(len(rows) - 2):
        reached = (reached.unsqueeze(1) + away).amin(dim=0)
    arcs = more.masked_fill(self_arc, FAR)
    arcs = arcs.masked_fill(self_arc & (rows == last), 0)  # to stay as it is costs nothing
    before = (reached.unsqueeze(1) + arcs).argmin(dim=0)
    inside, jump = rows == last, before
    for _ in range((len(rows) - 1).bit_length()):
        inside = inside | (inside.unsqueeze(1) & (jump.unsqueeze(1) == rows)).any(dim=0)
        jump = jump.gather(0, jump)
    return torch.where(inside, before, rows)


def transport(student: Tensor, reference: Tensor) -> Tensor:
    """Mean of half the squared distances along the optimal plan between two (n, width) sets.

    The plan itself has no gradient.
    """
    cost = torch.cdist(student.float(), reference.float(), compute_mode="donot_use_mm_for_euclid_dist").square() / 2
    pairs = reference.float().index_select(0, assignment(cost.detach()))
    return (student.float() - pairs).square().sum(dim=-1).mean() / 2
