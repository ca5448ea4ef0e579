"""A disk that is full, or a folder that may not be written: what Python's own files meet there."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock


class Full(io.FileIO):
    """A file that can be made, but takes no byte: the error comes when buffers are flushed, as on a full disk."""

    def write(self, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.name if isinstance(self.name, str) else None)


class Disk:
    """Counts the files that are opened for writing below a folder, and fails from one of them on.

    Args:
        folder: what lies on the disk.
        first: number of the first file that fails; those before are written.
        last: number of the last one: after it there is room again.
        code: ``ENOSPC`` for a full disk, which takes names but no content; else what opening fails with.
    """

    def __init__(self, folder: Path, first: int, last: int, code: int) -> None:
        self.folder, self.first, self.last, self.code = str(folder), first, last, code
        self.opened: list[str] = []
        self.open, self.os_open = builtins.open, os.open

    def fails(self, path: str) -> bool:
        """Count a file; returns whether it fails."""
        self.opened.append(path)
        return self.first <= len(self.opened) <= self.last

    def open_file(self, file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        path = path_of(file)
        if not writes(mode) or not path.startswith(self.folder):
            return self.open(file, mode, *args, **options)
        if self.code != errno.ENOSPC:  # a handle was refused when it was made
            if not isinstance(file, int) and self.fails(path):
                raise OSError(self.code, os.strerror(self.code), path)
            return self.open(file, mode, *args, **options)
        if not self.fails(path):
            return self.open(file, mode, *args, **options)
        return opened_over(Full, file, mode)

    def open_handle(self, path: Any, flags: int, *args: Any, **options: Any) -> int:
        makes = flags & os.O_CREAT and path_of(path).startswith(self.folder)
        if makes and self.code != errno.ENOSPC and self.fails(path_of(path)):
            raise OSError(self.code, os.strerror(self.code), path_of(path))
        return self.os_open(path, flags, *args, **options)


def writes(mode: str) -> bool:
    """Whether a mode of ``open`` is for writing."""
    return bool(set(mode) & set("wxa+"))


def opened_over(kind: type[io.FileIO], file: Any, mode: str) -> Any:
    """What ``open`` would give, over a raw file of another kind, so that its buffers are the real ones."""
    raw: Any = io.BufferedWriter(kind(file, mode.replace("b", "").replace("t", "")))
    return raw if "b" in mode else io.TextIOWrapper(raw, encoding="utf-8")


def path_of(file: Any) -> str:
    """The path of what ``open`` is given, be it a handle."""
    if isinstance(file, int):
        link = f"/proc/self/fd/{file}"
        return os.readlink(link) if os.path.lexists(link) else ""
    return os.path.abspath(os.fsdecode(file))


@contextmanager
def full_disk(folder: Path, first: int = 1, last: int = 10**9, code: int = errno.ENOSPC) -> Iterator[Disk]:
    """Within the block, files below ``folder`` meet a :class:`Disk`."""
    disk = Disk(folder, first, last, code)
    # pathlib opens by io.open.
    with (
        mock.patch.object(builtins, "open", disk.open_file),
        mock.patch.object(io, "open", disk.open_file),
        mock.patch.object(os, "open", disk.open_handle),
    ):
        yield disk
