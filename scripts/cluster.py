"""Runs of a plan as jobs of a SLURM cluster, through submitit."""

from __future__ import annotations

import functools
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caspl.errors import CasPLError, first_line

POLL = 1.0
NAME = "caspl"


class Cluster:
    """Starts commands as jobs.

    Args:
        folder: on a disk that all nodes see; submitit keeps its files there.
        settings: KEY=VALUE of submitit's executor, such as slurm_partition=gpu, gpus_per_node=1, timeout_min=600;
            cluster=local starts processes of this machine instead, to try things out: they outlive a driver that is
            ended, where a cluster takes its jobs back.

    Raises:
        CasPLError: submitit or the cluster is not there, or does not know a setting.
    """

    def __init__(self, folder: Path, settings: Sequence[str]) -> None:
        try:
            import submitit
        except ImportError as error:
            raise CasPLError("--slurm needs submitit: pip install '.[slurm]' in the checkout of CasPL") from error
        given = dict(_setting(text) for text in settings)
        cluster = str(given.pop("cluster", "slurm"))
        try:
            self._executor = submitit.AutoExecutor(folder=folder.resolve(), cluster=cluster)
            self._executor.update_parameters(**{"name": NAME, **given})
        except (NameError, TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise CasPLError(f"--slurm {' '.join(settings)}: {first_line(error)}") from error

    def start(self, line: Sequence[str], log: Path) -> Job:
        """Hand a command over, with this process's environment; what it prints goes to the log.

        Raises:
            CasPLError: the cluster refuses it.
        """
        # Plain functions of the standard library: a node needs nothing of ours to read the job.
        shell = ["bash", "-c", 'exec "$@" >>"$0" 2>&1', str(log.resolve()), *line]
        try:
            return Job(self._executor.submit(functools.partial(subprocess.call, shell)), log)
        except (RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
            raise CasPLError(f"the cluster takes no job: {first_line(error)}") from error


class Job:
    """A job, as processes of this machine look."""

    def __init__(self, job: Any, log: Path) -> None:
        self._job, self._log = job, log
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code; None while it waits or runs."""
        if self.returncode is None and self._job.done():
            self.returncode = self._code()
        return self.returncode

    def terminate(self) -> None:
        """Take it back, or end it."""
        self._job.cancel(check=False)

    def wait(self) -> int:
        """Until it has ended; returns the exit code."""
        while (code := self.poll()) is None:
            time.sleep(POLL)
        return code

    def _code(self) -> int:
        error = self._job.exception()
        if error is None:
            return int(self._job.result())
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"job {self._job.job_id} ({self._job.state}): {_last(str(error))}\n")
        return 1


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise CasPLError(f"--slurm takes KEY=VALUE, not {text!r}")
    for kind in (int, float):
        try:
            return key, kind(value)
        except ValueError:
            continue
    return key, value


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it ended without a word"
