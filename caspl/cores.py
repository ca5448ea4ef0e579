"""How many cores a process may use, and whether its threads help: machines are shared, and containers have quotas.

``python -m caspl.cores`` says both.
"""

from __future__ import annotations

import logging
import math
import os
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import torch

logger = logging.getLogger(__name__)

VARIABLE = "OMP_NUM_THREADS"
SLOWER = 2.0
"""Times the seconds of one thread: from here on it is said that the threads do not help."""


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use, by its affinity and its container's quota; at least 1.

    Args:
        cgroup: where the quota stands, in the form of version 2 or 1.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min(there, _quota(cgroup))))


def free_cores(stat: Path = Path("/proc/stat"), seconds: float = 0.5) -> int:
    """Usable cores that are idle now; at least 1. The load of the last minute would count what this one has begun with.

    Args:
        stat: where Linux counts idle time; elsewhere all usable cores are taken to be free.
        seconds: for how long it is looked.
    """
    before = _times(stat)
    time.sleep(seconds)
    after = _times(stat)
    if before is None or after is None or after[1] <= before[1]:
        return usable_cores()
    share = (after[0] - before[0]) / (after[1] - before[1])
    return max(1, min(usable_cores(), round(share * (os.cpu_count() or 1))))


def _times(stat: Path) -> tuple[int, int] | None:
    """Idle time of all cores since the start of the machine, and all time."""
    try:
        numbers = [int(word) for word in stat.read_text().partition("\n")[0].split()[1:]]
        return numbers[3] + numbers[4], sum(numbers)
    except (OSError, ValueError, IndexError):
        return None


def settle_threads(environment: Mapping[str, str] = os.environ, processes: int = 1) -> None:
    """Use no more threads than cores, unless the user has said how many, and warn where they slow each other down.

    The number does not follow the load of the moment: a run that goes on has to compute as it did.

    Args:
        environment: of this process.
        processes: of the run on this machine, which share the cores.
    """
    threads, cores = torch.get_num_threads(), max(1, usable_cores() // processes)
    if VARIABLE not in environment and threads > cores:
        threads = cores
        torch.set_num_threads(threads)
        logger.info("%d threads, as many as there are cores to use", threads)
    if threads > 1:
        ratio = slowdown(threads)
        if ratio > SLOWER:
            logger.warning(
                "%d threads take %.1f times as long as one, for the cores are shared: set %s=1 in the environment",
                *(threads, ratio, VARIABLE),
            )


def slowdown(threads: int, rounds: int = 9) -> float:
    """Seconds of some products of matrices on so many threads, in seconds of one; takes some hundredths of a second."""
    before = torch.get_num_threads()
    matrix = torch.ones(256, 256)

    def seconds(count: int) -> float:
        torch.set_num_threads(count)
        began = time.perf_counter()
        for _ in range(4):
            torch.mm(matrix, matrix)
        return time.perf_counter() - began

    try:
        with torch.no_grad():
            for _ in range(3):  # the first starts them
                seconds(threads)
            pairs = [(seconds(threads), seconds(1)) for _ in range(rounds)]
    finally:
        torch.set_num_threads(before)
    return statistics.median(several / one for several, one in pairs)


def _quota(cgroup: Path) -> float:
    """Cores by the container's quota; infinite without one."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return math.inf
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return math.inf
    return cores if cores > 0 else math.inf  # version 1 says -1


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    settle_threads()
