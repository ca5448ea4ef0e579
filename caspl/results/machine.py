"""Where a run ran: versions, hardware, commit and peak memory. What cannot be found out is left empty."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import caspl

MEGABYTE = 2**20


def now() -> str:
    """The time in UTC as an ISO text; texts of this form sort by time."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


class Computes(Protocol):
    """What computed; see :class:`caspl.runtime.Runtime`."""

    @property
    def device_name(self) -> str: ...

    @property
    def device_memory_mb(self) -> float | None: ...


def environment(runtime: Computes | None = None) -> dict[str, Any]:
    """The fields of a run record that the machine knows: ``RunRecord(..., **environment(runtime))``.

    To be called at the end of a run, since the peak memory is that of the run so far.

    Args:
        runtime: what computed; None is the CPU.
    """
    return {
        "versions": versions(),
        "hardware": hardware(runtime),
        "commit": commit(),
        "peak_memory_mb": peak_memory_mb(runtime),
    }


def versions() -> dict[str, str]:
    """Versions of what decides the figures; empty where a package is not installed."""
    found = {"python": platform.python_version(), "caspl": caspl.__version__}
    for package in ("torch", "torchvision", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = ""
    return found


def hardware(runtime: Computes | None = None) -> dict[str, Any]:
    """The device that computed, the processor's name, and the cores this process may use."""
    # A job on a shared machine is often bound to fewer cores than there are; only Linux tells.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0
    return {"device": "cpu" if runtime is None else runtime.device_name, "cpu": _cpu_name(), "cores": cores}


def commit(root: Path | None = None) -> str:
    """The commit of the checkout this package lies in, with "-dirty" after local changes to tracked files.

    Empty for an installed package: a repository further up (that of a project which holds the virtual
    environment) would be somebody else's commit.
    """
    root = root or Path(caspl.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return ""
    # One call for both answers; without optional locks, since many runs of a sweep may ask at once.
    command = ["git", "--no-optional-locks", "-C", str(root)]
    command += ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def peak_memory_mb(runtime: Computes | None = None) -> float:
    """Peak memory in MiB: of the device's tensors where it counts them, else of the process; 0.0 if unknown."""
    counted = None if runtime is None else runtime.device_memory_mb
    if counted is not None:
        return counted
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MEGABYTE if sys.platform == "darwin" else peak / 1024  # bytes on macOS, KiB elsewhere


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
