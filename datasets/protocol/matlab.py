"""MATLAB files, which two data sets bring. SciPy reads them; it is needed only where the split file is missing."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from caspl.errors import CasPLError


def read_mat(path: Path, key: str) -> list[Any]:
    """Read a vector, or the records of a structure array, from a MATLAB file.

    Raises:
        CasPLError: SciPy is not installed, the file cannot be read, or it lacks the key.
    """
    if not path.is_file():
        raise CasPLError(f"{path} is missing: it belongs to the data set")
    try:
        scipy_io = importlib.import_module("scipy.io")
    except ImportError as error:
        raise CasPLError(
            f"reading {path} needs SciPy: pip install scipy, or put the published split file in place"
        ) from error
    try:
        content = scipy_io.loadmat(path, squeeze_me=True)[key]
    # SciPy has its own exceptions, and raises many others for damaged files.
    except Exception as error:
        raise CasPLError(f"{path} is damaged or lacks {key!r} ({error}): extract the archive again") from error
    return list(content.reshape(-1))
