"""What a run leaves behind: ``result.json`` beside its log, for tables to read; and what its evaluations leave."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from caspl.results import RunRecord, environment, now, write_record
from caspl.results.record import EVALUATIONS, FILE_NAME
from caspl.runtime import Runtime


class RunRecorder:
    """Collects times during a run and writes its record after a test.

    Args:
        cfg: the run's config.
        runtime: where it computes; its process writes, or does not.
        trained_on: data set, classes, shots and seed that the tested tokens come from.
    """

    def __init__(self, cfg: CfgNode, runtime: Runtime, trained_on: Mapping[str, Any]) -> None:
        self.cfg, self.runtime = cfg, runtime
        self.trained_on = dict(trained_on)
        self.seconds: dict[str, float] = {}
        self.extra: dict[str, Any] = {}
        self.tested: dict[str, str] = {}
        self._epoch = ""
        self.started = now()
        self._running: list[tuple[str, float]] = []
        self._result: dict[str, Any] = {}

    @contextmanager
    def timing(self, what: str) -> Iterator[None]:
        """Add the time spent inside to ``seconds[what]``; what is timed within it counts there alone."""
        self._pause()
        self._running.append((what, time.perf_counter()))
        try:
            yield
        finally:
            self._pause()
            self._running.pop()
            self._go_on()

    def so_far(self) -> dict[str, float]:
        """Seconds by name, those of what is running included."""
        if not self._running:
            return dict(self.seconds)
        what, start = self._running[-1]
        return self.seconds | {what: self.seconds.get(what, 0.0) + time.perf_counter() - start}

    def write(self, trainer: str = "", metrics: Mapping[str, Any] | None = None, images: int = 0) -> None:
        """Write ``OUTPUT_DIR/result.json``, or an evaluation's file; without arguments, anew with the present times.

        Args:
            trainer: registered name.
            metrics: percentages by name, among them ``accuracy``.
            images: number of test images.
        """
        cfg = self.cfg
        if metrics is not None:
            numbers = {name: value for name, value in metrics.items() if isinstance(value, float)}
            self._result = {"trainer": trainer, "metrics": numbers, "test_images": images}
        if not self._result or not self.runtime.writes:
            return
        record = RunRecord(
            protocol=cfg.TRAINER.RECORD.PROTOCOL,
            config=cfg.TRAINER.RECORD.CONFIG,
            dataset=cfg.DATASET.NAME,
            shots=cfg.DATASET.NUM_SHOTS,
            seed=cfg.SEED,
            classes=cfg.DATASET.SUBSAMPLE_CLASSES,
            trained_on=self.trained_on,
            tested=self.tested,
            settings=plain(cfg),
            seconds=self.so_far(),
            started=self.started,
            finished=now(),
            extra=self.extra | ({"processes": self.runtime.world} if self.runtime.world > 1 else {}),
            **self._result,
            **environment(self.runtime),
        )
        write_record(cfg.OUTPUT_DIR, record, self._file())

    def evaluates(self, checkpoint: Path, epoch: int | None = None) -> None:
        """Note that this is no training, but a test of that checkpoint; of an epoch's, if one was asked for."""
        self._epoch = "" if epoch is None else f"-epoch{epoch}"
        with checkpoint.open("rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        self.tested = {"checkpoint": str(checkpoint.resolve()), "sha256": digest}

    def _file(self) -> str:
        """``result.json`` is the training's: a test into its folder has a file of its own."""
        own = Path(self.cfg.OUTPUT_DIR).resolve()
        if not self.tested or own not in Path(self.tested["checkpoint"]).parents:
            return FILE_NAME
        data = self.cfg.DATASET
        return f"{EVALUATIONS}/{data.NAME}-{data.SUBSAMPLE_CLASSES}{self._epoch}.json"

    def beside(self, what: str) -> Path:
        """A CSV file beside the record, with its name in front where that is an evaluation's."""
        record = self._file()
        name = f"{what}.csv" if record == FILE_NAME else f"{record.removesuffix('.json')}-{what}.csv"
        return Path(self.cfg.OUTPUT_DIR) / name

    def _pause(self) -> None:
        """Put the time of what is running on its account."""
        self.seconds = self.so_far()
        self._go_on()

    def _go_on(self) -> None:
        if self._running:
            self._running[-1] = (self._running[-1][0], time.perf_counter())


def plain(node: Any) -> Any:
    """A config node as nested dicts."""
    return {key: plain(value) for key, value in node.items()} if isinstance(node, CfgNode) else node
