"""Atomic writes: a file is there whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from caspl.errors import CasPLError


def write_atomically(path: str | Path, write: Callable[[str], object]) -> Path:
    """Let ``write(temporary path)`` make a file beside ``path``, then move it there in one step.

    What is there is on the disk, too: a power cut leaves the old file or the new one, and once this has returned, where
    the system can promise that, the new one.

    Raises:
        CasPLError: if the disk is full or the folder cannot be written; an older file at ``path`` stays whole.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        os.chmod(temporary, 0o644)
        write(temporary)
        _flush(temporary)
        os.replace(temporary, path)
        with suppress(OSError):  # some systems flush no folders
            _flush(path.parent)
    except OSError as error:
        raise CasPLError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
    return path


def _flush(path: str | Path) -> None:
    """Bring what was written to the disk: systems may move a file before its content is there."""
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)  # Windows flushes only what it may write
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: str | Path, content: Any) -> Path:
    """Write JSON, indented, atomically."""
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    return write_atomically(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))
