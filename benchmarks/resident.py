"""What a process grows by: Linux' count of its pages, which depends on how the C library keeps freed memory.

MALLOC_MMAP_THRESHOLD_=65536 makes glibc give back what is freed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def resident(what: str) -> int:
    """Bytes of this process that are in memory; ``VmRSS`` now, ``VmHWM`` at most since :func:`forget_peak`."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return 1024 * int(line.split()[1])
    return 0


def forget_peak() -> None:
    """Begin to count ``VmHWM`` from here."""
    Path("/proc/self/clear_refs").write_text("5")


def grown(run: Callable[[], object]) -> float:
    """MiB by which this process grows in a call, at most; nan where the system does not tell."""
    if not Path("/proc/self/clear_refs").exists():
        run()
        return float("nan")
    forget_peak()
    before = resident("VmRSS")
    run()
    return (resident("VmHWM") - before) / 2**20
