"""What a training epoch reports: a line every few batches, and curves."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

from ..utils.logger import logger
from ..utils.meters import AverageMeter, MetricMeter

if TYPE_CHECKING:
    from .simple import SimpleTrainer

__all__ = ["EpochProgress"]

T = TypeVar("T")


class EpochProgress:
    """Times the batches of one epoch and reports their metrics.

    Args:
        trainer: whose epoch; its epoch, batch index and learning rate are read when a batch is done.
        num_batches: batches an epoch.
    """

    def __init__(self, trainer: SimpleTrainer, num_batches: int) -> None:
        self.trainer = trainer
        self.num_batches = num_batches
        self.losses = MetricMeter()
        self.batch_time = AverageMeter()
        self.data_time = AverageMeter()
        self._last = time.time()

    def bar(self, batches: Iterable[T]) -> Iterator[T]:
        """Go through the batches under a progress bar; there is none where stderr is no terminal."""
        epoch = f"epoch {self.trainer.epoch + 1}/{self.trainer.max_epoch}"
        return iter(tqdm(batches, desc=epoch, total=self.num_batches, leave=False, disable=None))

    def data_ready(self) -> None:
        """Note that a batch has been loaded."""
        self.data_time.update(time.time() - self._last)

    def batch_done(self, batch_idx: int, summary: dict[str, Any] | None) -> None:
        """Note that a batch, counted from 0, has been trained on with these metrics."""
        self.batch_time.update(time.time() - self._last)
        self.losses.update(summary)
        if self._is_due(batch_idx):
            logger.info(self._line(batch_idx))
        step = self.trainer.epoch * self.num_batches + batch_idx
        for name, meter in self.losses.meters.items():
            self.trainer.write_scalar(f"train/{name}", meter.avg, step)
        self.trainer.write_scalar("train/lr", self.trainer.get_current_lr(), step)
        self._last = time.time()

    def _is_due(self, batch_idx: int) -> bool:
        frequency = self.trainer.cfg.TRAIN.PRINT_FREQ
        return frequency > 0 and ((batch_idx + 1) % frequency == 0 or self.num_batches < frequency)

    def _line(self, batch_idx: int) -> str:
        trainer = self.trainer
        remaining = self.num_batches - batch_idx - 1
        remaining += (trainer.max_epoch - trainer.epoch - 1) * self.num_batches
        eta = datetime.timedelta(seconds=int(self.batch_time.avg * remaining))
        fields = [
            f"epoch [{trainer.epoch + 1}/{trainer.max_epoch}]",
            f"batch [{batch_idx + 1}/{self.num_batches}]",
            f"time {self.batch_time.val:.3f} ({self.batch_time.avg:.3f})",
            f"data {self.data_time.val:.3f} ({self.data_time.avg:.3f})",
            str(self.losses),
            f"lr {trainer.get_current_lr():.4e}",
            f"eta {eta}",
        ]
        return " ".join(fields)
