"""What a run leaves behind: ``result.json`` beside its log, for tables to read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from yacs.config import CfgNode

from caspl.results import RunRecord, environment, now, write_record


class RunRecorder:
    """Collects times during a run and writes its record after a test.

    Args:
        cfg: the run's config.
    """

    def __init__(self, cfg: CfgNode) -> None:
        self.cfg = cfg
        self.seconds: dict[str, float] = {}
        self.started = now()
        self._running: dict[str, float] = {}
        self._result: dict[str, Any] = {}

    @contextmanager
    def timing(self, what: str) -> Iterator[None]:
        """Add the time spent inside to ``seconds[what]``."""
        self._running[what] = time.perf_counter()
        try:
            yield
        finally:
            self.seconds = self.so_far()
            del self._running[what]

    def so_far(self) -> dict[str, float]:
        """Seconds by name, those of what is running included."""
        clock = time.perf_counter()
        running = {what: clock - start for what, start in self._running.items()}
        return self.seconds | {what: self.seconds.get(what, 0.0) + spent for what, spent in running.items()}

    def write(self, trainer: str = "", metrics: Mapping[str, Any] | None = None, images: int = 0) -> None:
        """Write ``OUTPUT_DIR/result.json``; without arguments, the last one anew with the present times.

        Args:
            trainer: registered name.
            metrics: percentages by name, among them ``accuracy``.
            images: number of test images.
        """
        cfg = self.cfg
        if metrics is not None:
            numbers = {name: value for name, value in metrics.items() if isinstance(value, float)}
            self._result = {"trainer": trainer, "metrics": numbers, "test_images": images}
        if not self._result:
            return
        record = RunRecord(
            protocol=cfg.TRAINER.RECORD.PROTOCOL,
            config=cfg.TRAINER.RECORD.CONFIG,
            dataset=cfg.DATASET.NAME,
            shots=cfg.DATASET.NUM_SHOTS,
            seed=cfg.SEED,
            classes=cfg.DATASET.SUBSAMPLE_CLASSES,
            settings=plain(cfg),
            seconds=self.so_far(),
            started=self.started,
            finished=now(),
            **self._result,
            **environment(),
        )
        write_record(cfg.OUTPUT_DIR, record)


def plain(node: Any) -> Any:
    """A config node as nested dicts."""
    return {key: plain(value) for key, value in node.items()} if isinstance(node, CfgNode) else node
