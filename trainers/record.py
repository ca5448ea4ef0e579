"""What a run leaves behind: ``result.json`` beside its log, for tables to read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from yacs.config import CfgNode

from caspl.results.machine import environment, now
from caspl.results.record import RunRecord, write_record


class RunRecorder:
    """Collects times during a run and writes its record after a test.

    Args:
        cfg: the run's config.
    """

    def __init__(self, cfg: CfgNode) -> None:
        self.cfg = cfg
        self.seconds: dict[str, float] = {}
        self.started = now()

    @contextmanager
    def timing(self, what: str) -> Iterator[None]:
        """Add the time spent inside to ``seconds[what]``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - start

    def write(self, trainer: str, metrics: Mapping[str, Any], images: int, **extra: Any) -> None:
        """Write ``OUTPUT_DIR/result.json``.

        Args:
            trainer: registered name.
            metrics: percentages by name, among them ``accuracy``.
            images: number of test images.
        """
        cfg = self.cfg
        record = RunRecord(
            protocol=cfg.TRAINER.RECORD.PROTOCOL,
            trainer=trainer,
            dataset=cfg.DATASET.NAME,
            config=cfg.TRAINER.RECORD.CONFIG,
            shots=cfg.DATASET.NUM_SHOTS,
            seed=cfg.SEED,
            classes=cfg.DATASET.SUBSAMPLE_CLASSES,
            metrics={name: value for name, value in metrics.items() if isinstance(value, float)},
            test_images=images,
            settings=plain(cfg),
            seconds=self.seconds,
            started=self.started,
            finished=now(),
            extra=extra,
            **environment(),
        )
        write_record(cfg.OUTPUT_DIR, record)


def plain(node: Any) -> Any:
    """A config node as nested dicts."""
    return {key: plain(value) for key, value in node.items()} if isinstance(node, CfgNode) else node
