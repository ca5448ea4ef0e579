"""What a training epoch reports: a line every few batches, and curves."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tqdm import tqdm

from ..utils.logger import logger
from ..utils.meters import AverageMeter, MetricMeter, require_metrics
from ..utils.ranks import is_first
from .pending import hold, to_host

if TYPE_CHECKING:
    from .simple import SimpleTrainer

__all__ = ["EpochProgress"]

T = TypeVar("T")


class _Batch(NamedTuple):
    batch_idx: int
    step: int
    metrics: dict[str, Any]
    lr: Any


class EpochProgress:
    """Times the batches of one epoch and reports their metrics.

    Metrics that are tensors stay where they are, so that the device need not be waited for in every batch. They are
    brought over, all at once, when a line is due and when the epoch ends; event files get them then, each at its step.

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
        self._pending: list[_Batch] = []
        self._last = time.time()

    def bar(self, batches: Iterable[T]) -> Iterator[T]:
        """Go through the batches under a progress bar; there is none where stderr is no terminal."""
        epoch = f"epoch {self.trainer.epoch + 1}/{self.trainer.max_epoch}"
        disable = None if is_first() else True
        yield from tqdm(batches, desc=epoch, total=self.num_batches, leave=False, disable=disable)
        # The number of batches may have been an estimate, as that of some samplers is, and the last one unknown.
        self._report(self._arrived())

    def data_ready(self) -> None:
        """Note that a batch has been loaded."""
        self.data_time.update(time.time() - self._last)

    def batch_done(self, batch_idx: int, summary: dict[str, Any] | None) -> None:
        """Note that a batch has been trained on.

        Args:
            batch_idx: its index in the epoch, from 0.
            summary: its metrics, numbers or tensors of one element; None for none.

        Raises:
            TypeError: the summary is no dictionary.
        """
        self._note(batch_idx, {} if summary is None else summary)
        due = self._is_due(batch_idx)
        # Before the time is taken: this is where the work of all batches since the last line is waited for.
        arrived = self._arrived() if due or batch_idx + 1 == self.num_batches else []
        self.batch_time.update(time.time() - self._last)
        self._report(arrived)
        if due:
            logger.info(self._line(batch_idx))
        self._last = time.time()

    def _note(self, batch_idx: int, summary: dict[str, Any]) -> None:
        require_metrics(summary)
        metrics = {name: hold(value) for name, value in summary.items()}
        step = self.trainer.epoch * self.num_batches + batch_idx
        self._pending.append(_Batch(batch_idx, step, metrics, hold(self.trainer.get_current_lr())))

    def _arrived(self) -> list[_Batch]:
        pending, self._pending = self._pending, []
        if not pending:
            return []
        # The learning rate can be a tensor, too.
        rows = to_host([row for batch in pending for row in (batch.metrics, {"lr": batch.lr})])
        pairs = zip(pending, rows[::2], rows[1::2], strict=True)
        arrived = [batch._replace(metrics=metrics, lr=rate["lr"]) for batch, metrics, rate in pairs]
        self.trainer.numbers_arrived([(batch.batch_idx, batch.metrics) for batch in arrived])
        return arrived

    def _report(self, arrived: list[_Batch]) -> None:
        for batch in arrived:
            self.losses.update(batch.metrics)
            for name, meter in self.losses.meters.items():
                self.trainer.write_scalar(f"train/{name}", meter.avg, batch.step)
            self.trainer.write_scalar("train/lr", batch.lr, batch.step)

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
