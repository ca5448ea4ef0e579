"""Writing files so that a reader, or a killed writer, never leaves or meets half a file."""

from __future__ import annotations

import io
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

import torch

__all__ = ["atomic_write", "copy_whole", "save_whole"]


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside ``path`` that takes its place when the block ends well.

    After an exception, ``path`` is what it was before and the temporary file is gone. The folder must exist.

    Args:
        path: the file to write or to replace.
        mode: "wb" for bytes, "w" for UTF-8 text.
    """
    path = os.fspath(path)
    # The same folder, since os.replace is atomic within one file system only. Hidden, so that listings skip it, and
    # new by chance, since writers in other containers may have this process's number. `tempfile` would hide it from
    # others.
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{secrets.token_hex(8)}.tmp")
    # Outside of the block that removes it: what was there before belongs to another writer.
    file = open(temporary, mode.replace("w", "x"), encoding=None if "b" in mode else "utf-8")  # noqa: SIM115
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.remove(temporary)
        raise
    _sync_folder(os.path.dirname(path) or ".")


def copy_whole(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Copy the bytes of a file atomically; the folder of ``target`` must exist."""
    with open(source, "rb") as old, atomic_write(target) as new:
        shutil.copyfileobj(old, new)


def save_whole(content: Any, file: IO[bytes]) -> None:
    """Write with ``torch.save``, but in one piece, so that a full disk is an OSError like any other.

    torch's own writer turns it into a RuntimeError without words.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    file.write(buffer.getbuffer())


def _sync_folder(folder: str) -> None:
    # The new name is the folder's content, which a power cut would lose. Not every system can open a folder.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
