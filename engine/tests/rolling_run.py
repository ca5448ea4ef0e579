"""Trains with rolling snapshots and kills itself if told to: IMAGES OUTPUT [EPOCH BATCH]."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from engine_toy import RollingTrainer, toy_cfg

from dassl.engine import build_trainer
from dassl.utils import set_random_seed

OPTS = ["TRAINER.NAME", "RollingTrainer", "TEST.FINAL_MODEL", "best_val", "OPTIM.MAX_EPOCH", 4,
        "OPTIM.WARMUP_EPOCH", 1, "OPTIM.WARMUP_TYPE", "constant"]  # fmt: skip


def main() -> None:
    images, output, *deadline = sys.argv[1:]
    cfg = toy_cfg(Path(images), Path(output), *OPTS)
    set_random_seed(cfg.SEED)
    trainer: RollingTrainer = build_trainer(cfg)
    if deadline:
        step = trainer.forward_backward

        def forward_backward(batch: Any) -> Any:
            if [trainer.epoch, trainer.batch_idx] == [int(number) for number in deadline]:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(batch)

        trainer.forward_backward = forward_backward  # type: ignore[method-assign]
    trainer.train()


if __name__ == "__main__":
    main()
