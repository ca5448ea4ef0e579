"""Atomic writes: a file is there whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from caspl.errors import CasPLError


def write_atomically(path: str | Path, write: Callable[[str], object]) -> Path:
    """Let ``write(temporary path)`` make a file beside ``path``, then move it there in one step.

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
        os.replace(temporary, path)
    except OSError as error:
        raise CasPLError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
    return path


def write_json(path: str | Path, content: Any) -> Path:
    """Write JSON, indented, atomically."""
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    return write_atomically(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))
