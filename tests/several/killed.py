"""A run of train.py whose second process is killed in the middle of an epoch: ``EPOCH BATCH COMMAND...``, from 0."""

from __future__ import annotations

import os
import signal
import sys

import train
from caspl.runtime import Place
from dassl.engine.progress import EpochProgress


def kill_before(epoch: int, batch: int) -> None:
    """Let this process be killed once it has been given that batch."""
    plain = EpochProgress.data_ready

    def data_ready(self: EpochProgress) -> None:
        plain(self)
        if (self.trainer.epoch, getattr(self.trainer, "batch_idx", 0)) == (epoch, batch):
            os.kill(os.getpid(), signal.SIGKILL)

    EpochProgress.data_ready = data_ready  # type: ignore[method-assign]


if __name__ == "__main__":
    if Place.of().rank == 1:
        kill_before(int(sys.argv[1]), int(sys.argv[2]))
    sys.exit(train.main(sys.argv[3:]))
