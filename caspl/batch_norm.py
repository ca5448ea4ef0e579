"""Batch normalisation over all images of a batch, also where several processes have it together."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.errors import CasPLError
from caspl.group import Group

MOMENTUM, EPS = 0.1, 1e-5


class BatchNorm(nn.Module):
    """As ``torch.nn.BatchNorm1d``, but for the count of batches, which nothing needs.

    A step of several processes must not be recorded with it: see :meth:`caspl.group.Group.total`.

    Args:
        width: of the features.
        group: of the processes that have each batch together.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, group: Group | None = None) -> None:
        super().__init__()
        self.group = group or Group()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, features: Tensor) -> Tensor:
        """Features (batch, width), float32 -> normalised ones; in training by the batch, else by what was seen.

        Raises:
            CasPLError: in training, for a batch of one image: it has no variance.
        """
        if self.training and self.group.world > 1:
            return self._over_all(features)
        if self.training and features.shape[0] < 2:
            raise CasPLError(
                "batch normalisation needs two images a batch or more: raise DATALOADER.TRAIN_X.BATCH_SIZE"
            )
        running = (self.running_mean, self.running_var)
        return F.batch_norm(features, *running, self.weight, self.bias, self.training, MOMENTUM, EPS)

    def _over_all(self, features: Tensor) -> Tensor:
        group, share = self.group, self.group.share
        assert share is not None, "the step says what part of the batch this is"
        count = features.shape[0] * (share > 0).to(features).reshape(1)
        told = group.total(torch.cat([share * features.mean(dim=0), count]))
        mean, images = told[:-1], told[-1].detach()
        variance = group.total(share * (features - mean).square().mean(dim=0))
        with torch.no_grad():
            self.running_mean.lerp_(mean, MOMENTUM)
            self.running_var.lerp_(variance * images / (images - 1), MOMENTUM)
        return self.weight * (features - mean) / (variance + EPS).sqrt() + self.bias
