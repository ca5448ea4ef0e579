"""Fetching a file from the web."""

from __future__ import annotations

import sys
import time
import urllib.request

from .atomic import atomic_write

__all__ = ["download_url"]

_CHUNK = 1 << 20


def download_url(url: str, dst: str) -> None:
    """Fetch ``url`` into the file ``dst``, with a progress line on stderr.

    ``dst`` appears only when everything has arrived.
    """
    start = time.time()
    with urllib.request.urlopen(url) as response, atomic_write(dst) as file:
        total = int(response.headers.get("Content-Length") or 0)
        received = 0
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            received += len(chunk)
            _report(received, total, time.time() - start)
        if received < total:
            raise OSError(f"{url} ended after {received} of {total} bytes; try again")
    if sys.stderr.isatty():
        sys.stderr.write("\n")


def _report(received: int, total: int, seconds: float) -> None:
    if not sys.stderr.isatty():
        return
    share = f"{100 * received / total:.0f}%, " if total else ""
    speed = received / 1024 / max(seconds, 1e-6)
    sys.stderr.write(f"\r...{share}{received / 2**20:.1f} MB, {speed:.0f} KB/s, {seconds:.0f} seconds passed")
    sys.stderr.flush()
