"""Training epochs: over labelled images, and over labelled and unlabelled ones together."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .progress import EpochProgress
from .simple import SimpleTrainer, first_view

__all__ = ["TrainerX", "TrainerXU"]


class TrainerX(SimpleTrainer):
    """Trains on labelled images. A subclass provides ``build_model`` and ``forward_backward``.

    The schedule is the method's business: ``forward_backward`` calls ``update_lr()`` in the last batch of an
    epoch, when ``batch_idx + 1 == num_batches``.
    """

    def run_epoch(self) -> None:
        """Train on each batch of ``train_loader_x``."""
        self.set_model_mode("train")
        self.num_batches = len(self.train_loader_x)
        progress = EpochProgress(self, self.num_batches)
        for batch_idx, batch in enumerate(progress.bar(self.train_loader_x)):
            self.batch_idx = batch_idx
            progress.data_ready()
            progress.batch_done(batch_idx, self.forward_backward(batch))

    def parse_batch_train(self, batch: dict[str, Any]) -> tuple[Tensor, ...]:
        """Return images (batch, 3, height, width), labels (batch,), domains (batch,) on the device."""
        return tuple(first_view(batch[key]).to(self.device) for key in ("img", "label", "domain"))


class TrainerXU(SimpleTrainer):
    """Trains on pairs of a labelled and an unlabelled batch.

    A subclass provides ``build_model`` and ``forward_backward(batch_x, batch_u)``. TRAIN.COUNT_ITER says
    which loader sets the length of an epoch; the other starts again when it is exhausted.
    """

    def run_epoch(self) -> None:
        """Train on pairs of batches."""
        self.set_model_mode("train")
        self.num_batches = self._count_batches()
        progress = EpochProgress(self, self.num_batches)
        batches_x, batches_u = _Endless(self.train_loader_x), _Endless(self.train_loader_u)
        for batch_idx in progress.bar(range(self.num_batches)):
            self.batch_idx = batch_idx
            batch_x, batch_u = next(batches_x), next(batches_u)
            progress.data_ready()
            progress.batch_done(batch_idx, self.forward_backward(batch_x, batch_u))

    def forward_backward(self, batch_x: Any, batch_u: Any) -> Any:
        """Train on a pair of batches; return a dictionary of numbers to report, or None."""
        raise NotImplementedError

    def parse_batch_train(self, batch_x: dict[str, Any], batch_u: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Return labelled images, their labels and unlabelled images on the trainer's device."""
        return (
            first_view(batch_x["img"]).to(self.device),
            batch_x["label"].to(self.device),
            first_view(batch_u["img"]).to(self.device),
        )

    def _count_batches(self) -> int:
        if self.train_loader_u is None:
            raise ValueError(f"{type(self).__name__} needs unlabelled images, but the data set has no train_u")
        count_x, count_u = len(self.train_loader_x), len(self.train_loader_u)
        choices = {"train_x": count_x, "train_u": count_u, "smaller_one": min(count_x, count_u)}
        if self.cfg.TRAIN.COUNT_ITER not in choices:
            raise ValueError(f"TRAIN.COUNT_ITER must be one of {list(choices)}, but got {self.cfg.TRAIN.COUNT_ITER}")
        return choices[self.cfg.TRAIN.COUNT_ITER]


class _Endless:
    """Batches of a loader, over and over.

    The first pass begins here, not with the first batch: beginning draws a random number.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._batches = iter(loader)

    def __next__(self) -> Any:
        try:
            return next(self._batches)
        except StopIteration:
            self._batches = iter(self._loader)
            return next(self._batches)
