"""Rectified Adam with decoupled weight decay."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["RAdam"]


class RAdam(torch.optim.RAdam):
    """``torch.optim.RAdam`` whose weight decay is decoupled from the gradient.

    While the variance estimate is unreliable it steps like SGD with momentum.

    Args:
        params: parameters or parameter groups.
        lr: learning rate.
        betas: decay of the two running averages.
        eps: added to the denominator.
        weight_decay: decoupled weight decay.
        **kwargs: further arguments of ``torch.optim.RAdam``.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("decoupled_weight_decay", True)
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, **kwargs)
