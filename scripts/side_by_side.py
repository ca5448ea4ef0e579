"""Runs of a plan, some at a time, each a process of its own."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cluster
from run_once import BUSY

from caspl.errors import CasPLError
from caspl.protocols import Run

REPO = Path(__file__).resolve().parents[1]
POLL = 0.1
REST, LONGEST_REST = 1.0, 60.0
"""Seconds until a folder that another process fills is looked at again: more each time."""
PATIENCE = 10.0
"""Seconds for runs to end by themselves after Ctrl-C."""


@dataclass
class Job:
    """A run that is going on."""

    run: Run
    process: subprocess.Popen[bytes] | cluster.Job
    log: Path | None
    slot: int
    began: float = field(default_factory=time.monotonic)


class Executor:
    """Runs a plan.

    Args:
        missing: the runs that are to be done, each after those that it needs.
        commands: for train.py, by a run's folder.
        output: folder below which the runs are; what they print goes to its logs. None: they print here.
        slots: runs at a time.
        jobs: where they run; None: here.
    """

    def __init__(
        self,
        missing: Sequence[Run],
        commands: Mapping[Path, list[str]],
        output: Path | None,
        slots: int,
        jobs: cluster.Cluster | None = None,
    ) -> None:
        self.commands, self.output, self.cluster = commands, output, jobs
        self.waiting, self.slots = deque(missing), slots
        self.total = len(missing)
        self.jobs: list[Job] = []
        self.failed: dict[Path, tuple[Run, int, str]] = {}
        self.took: dict[str, list[float]] = defaultdict(list)
        self.done = 0
        self.rests: dict[Path, tuple[float, float]] = {}

    def run(self) -> int:
        """Run all; returns the exit code of the first that failed, or 0.

        Raises:
            CasPLError: logs cannot be written, or no process can be started.
        """
        try:
            while self.waiting or self.jobs:
                self.turn()
                time.sleep(POLL)
        except KeyboardInterrupt as interrupt:
            self._stop(PATIENCE if not interrupt.args else 0)
            print("interrupted; the same command goes on", file=sys.stderr)
            return 130
        except CasPLError:  # a cluster takes no job
            self._stop(0)
            raise
        except OSError as error:
            self._stop(0)
            raise CasPLError(f"{error.filename or self.output} cannot be used: {error.strerror or error}") from error
        for run, code, last in self.failed.values():
            print(f"failed: {run.title} (code {code}): {last}", file=sys.stderr)
        return next((code for _, code, _ in self.failed.values()), 0)

    def turn(self) -> None:
        """Begin what can begin, and take note of what has ended."""
        self._begin()
        for job in [job for job in self.jobs if job.process.poll() is not None]:
            self.jobs.remove(job)
            self._ended(job)

    def _stop(self, patience: float) -> None:
        """End what is running: a terminal has told it too, and a second word would end its last writes."""
        deadline = time.monotonic() + patience
        while any(job.process.poll() is None for job in self.jobs) and time.monotonic() < deadline:
            time.sleep(POLL)
        for job in self.jobs:
            job.process.terminate()
        for job in self.jobs:
            job.process.wait()

    def _begin(self) -> None:
        """Fill the free slots with runs whose needs are there."""
        unfinished = {run.folder for run in self.waiting} | {job.run.folder for job in self.jobs}
        for _ in range(len(self.waiting)):
            free = set(range(self.slots)) - {job.slot for job in self.jobs}
            if not free:
                return
            run = self.waiting.popleft()
            lost = [folder for folder in run.needs if folder in self.failed]
            if lost:
                self.failed[run.folder] = (run, self.failed[lost[0]][1], f"it needs {self.failed[lost[0]][0].title}")
            elif any(folder in unfinished for folder in run.needs) or self._is_resting(run):
                self.waiting.append(run)
            else:
                try:
                    self.jobs.append(self._start(run, min(free)))
                except CasPLError as error:  # a cluster may take more when it has done some
                    if not self.jobs:
                        raise
                    print(f"{error}: {len(self.jobs)} jobs go on, and then others", file=sys.stderr, flush=True)
                    self.waiting.appendleft(run)
                    self.slots = len(self.jobs)
                    return

    def _start(self, run: Run, slot: int) -> Job:
        # Where others fill a folder there may be more to do meanwhile.
        alone = not self.waiting and not self.jobs
        makes = ["--makes", str(run.makes[0]), run.makes[1]] if run.makes else []
        once = [str(REPO / "scripts/run_once.py"), str(run.folder), f"--identity={run.identity}", *makes]
        line = [sys.executable, *once, *([] if alone else ["--no-wait"]), "--", str(REPO / "train.py")]
        line += self.commands[run.folder]
        environment = dict(os.environ) | _device(slot, self.slots)
        if self.output is None:
            return Job(run, subprocess.Popen(line, env=environment), None, slot)
        log = self.output / "logs" / f"{'-'.join(run.folder.relative_to(self.output).parts)}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        if self.cluster is not None:  # which gives devices and threads itself
            return Job(run, self.cluster.start(line, log), log, slot)
        with log.open("ab") as stream:
            return Job(run, subprocess.Popen(line, env=environment, stdout=stream, stderr=stream), log, slot)

    def _ended(self, job: Job) -> None:
        code, seconds = job.process.returncode, time.monotonic() - job.began
        if code == BUSY:
            wait = min(2 * self.rests.get(job.run.folder, (0.0, REST / 2))[1], LONGEST_REST)
            self.rests[job.run.folder] = (time.monotonic() + wait, wait)
            self.waiting.append(job.run)
            return
        self.done += 1
        if code:
            last = _last_line(job.log) if job.log else "see above"
            self.failed[job.run.folder] = (job.run, code, last)
            print(f"failed: {job.run.title}: {last}", file=sys.stderr, flush=True)
            return
        self.took[job.run.kind].append(seconds)
        if self.output is not None:
            print(f"[{self.done}/{self.total}] {job.run.title}: {seconds:.0f} s{self._left()}", flush=True)

    def _is_resting(self, run: Run) -> bool:
        """Whether another process was found to fill its folder, not long ago."""
        return time.monotonic() < self.rests.get(run.folder, (0.0, 0.0))[0]

    def _left(self) -> str:
        """How long what is left will take, from the runs of its kind that are finished."""
        left = [*self.waiting, *(job.run for job in self.jobs)]
        known = [statistics.fmean(self.took[run.kind]) for run in left if run.kind in self.took]
        if not left or not known:
            return ""
        guess = sum(known) + (len(left) - len(known)) * statistics.fmean(known)
        return f"; about {_duration(guess / self.slots)} left"


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{max(1, round(seconds / 60))} min"


def _device(slot: int, slots: int) -> dict[str, str]:
    """A GPU of its own for a slot where there are several, and threads of its own where there is none."""
    import torch

    count = torch.cuda.device_count()
    if slots > 1 and count > 1:
        given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        devices = given.split(",")[:count] if given else [str(number) for number in range(count)]
        return {"CUDA_VISIBLE_DEVICES": devices[slot % len(devices)]}
    if slots > 1 and not count and "OMP_NUM_THREADS" not in os.environ:
        from caspl.cores import usable_cores

        return {"OMP_NUM_THREADS": str(max(1, usable_cores() // slots))}
    return {}


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4000))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else f"see {log}"
