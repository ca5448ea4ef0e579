"""Write `tinysat` to disk in CoOp's layout, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from caspl.errors import CasPLError
from caspl.tiny.domain import CLASSNAMES, SPLITS, render

log = logging.getLogger(__name__)
NAME = "tinysat"
VERSION = 1
"""Of the drawing; raised whenever the pictures of a seed change."""
MARKER = "tinysat.json"
SPLIT_FILE = "split_zhou_tinysat.json"

Split = dict[str, list[tuple[str, int, str]]]


def write(root: str | Path, seed: int = 1) -> Path:
    """Make sure that `<root>/tinysat` holds the data set; returns that folder.

    A folder that is already there is checked (version, seed, names and number of the images) and kept.

    Args:
        root: folder of all data sets.
        seed: of the pictures; the benchmark's figures are for seed 1.

    Raises:
        CasPLError: if a folder of that name holds something else, or the disk cannot be written.
    """
    folder = Path(root) / NAME
    if folder.exists():
        _check(folder, seed)
        return folder
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{NAME}."))
        temporary.chmod(0o755)
        _fill(temporary, seed)
        try:
            os.rename(temporary, folder)
        except OSError:
            if not folder.exists():
                raise
            _check(folder, seed)  # another process was faster; what it wrote is as good
    except OSError as error:
        raise CasPLError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    log.info("wrote %s", folder)
    return folder


def _fill(folder: Path, seed: int) -> None:
    split: Split = {}
    for number, (part, count) in enumerate(SPLITS.items()):
        # One stream of random numbers a split: its pictures do not depend on the size of the others.
        rng = np.random.default_rng((seed, number))
        labels = np.repeat(np.arange(len(CLASSNAMES)), count)
        split[part] = []
        for index, (label, picture) in enumerate(zip(labels.tolist(), render(rng, labels), strict=True)):
            name = CLASSNAMES[label]
            path = f"{name.replace(' ', '_')}/{part}_{index % count:03d}.png"
            file = folder / "images" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(file, compress_level=1)
            split[part].append((path, label, name))
    (folder / SPLIT_FILE).write_text(json.dumps(split), encoding="utf-8")
    (folder / MARKER).write_text(json.dumps(_marker(split, seed)), encoding="utf-8")


def _marker(split: Split, seed: int) -> dict[str, Any]:
    listing = json.dumps(split).encode()
    return {"version": VERSION, "seed": seed, "split": hashlib.sha256(listing).hexdigest()}


def _check(folder: Path, seed: int) -> None:
    """Refuse a folder that is of another version or seed, or that lacks files.

    Raises:
        CasPLError: with what is wrong and the way out.
    """
    advice = f"remove {folder} and it will be drawn anew"
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        split = json.loads((folder / SPLIT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CasPLError(f"{folder} is not a whole tinysat ({error}); {advice}") from error
    if marker != _marker(split, seed):
        raise CasPLError(f"{folder} is of another version or seed of tinysat than {VERSION} and {seed}; {advice}")
    there = {str(path.relative_to(folder / "images")) for path in folder.glob("images/*/*.png")}
    missing = [path for rows in split.values() for path, _, _ in rows if path not in there]
    if missing:
        raise CasPLError(f"{folder} lacks {len(missing)} images, such as {missing[0]}; {advice}")
