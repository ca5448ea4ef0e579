"""A drawn data set on disk in CoOp's layout: written whole or not at all, and checked when it is there."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from caspl.errors import CasPLError
from caspl.files import Claim
from caspl.files.parse import parse_json

log = logging.getLogger(__name__)

Split = dict[str, list[tuple[str, int, str]]]
Pictures = Iterable[tuple[np.ndarray, str, int, str]]
"""Picture (SIDE, SIDE, 3) uint8, path below the folder of images, label, class name."""


class Draw(Protocol):
    """Draws the parts of a data set."""

    def __call__(self, seed: int) -> Mapping[str, Pictures]:
        """The pictures of train, val and test."""


def write_once(root: str | Path, name: str, version: int, seed: int, draw: Draw) -> Path:
    """Make sure that `<root>/<name>` holds the data set; returns that folder.

    A folder that is already there is checked (version, seed, names and number of the images) and kept. Of several
    processes one draws, and the others wait for it.

    Args:
        root: folder of all data sets.
        name: of the data set.
        version: of the drawing; raised whenever the pictures of a seed change.
        seed: of the pictures.
        draw: draws them.

    Raises:
        CasPLError: if a folder of that name holds something else, or the disk cannot be written.
    """
    folder = Path(root) / name
    if not folder.exists():
        with Claim(folder, f"drawing {name}").wait(say=log.warning):
            if not folder.exists():
                _write(folder, version, draw, seed)
                return folder
    _check(folder, version, seed)
    return folder


def _write(folder: Path, version: int, draw: Draw, seed: int) -> None:
    temporary = None
    try:
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        temporary.chmod(0o755)
        split = {part: list(_saved(temporary / "images", pictures)) for part, pictures in draw(seed).items()}
        _split_file(temporary, folder.name).write_text(json.dumps(split), encoding="utf-8")
        _marker_file(temporary, folder.name).write_text(json.dumps(_marker(split, version, seed)), encoding="utf-8")
        os.rename(temporary, folder)
    except OSError as error:
        raise CasPLError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    log.info("wrote %s", folder)


def _saved(images: Path, pictures: Pictures) -> Iterator[tuple[str, int, str]]:
    for picture, path, label, classname in pictures:
        file = images / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(file, compress_level=1)
        yield path, label, classname


def _split_file(folder: Path, name: str) -> Path:
    return folder / f"split_zhou_{name}.json"


def _marker_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _marker(split: Split, version: int, seed: int) -> dict[str, Any]:
    listing = json.dumps(split).encode()
    return {"version": version, "seed": seed, "split": hashlib.sha256(listing).hexdigest()}


def _check(folder: Path, version: int, seed: int) -> None:
    """Refuse a folder that is of another version or seed, or that lacks files.

    Raises:
        CasPLError: with what is wrong and the way out.
    """
    name = folder.name
    advice = f"remove {folder} and it will be drawn anew"
    try:
        marker = parse_json(_marker_file(folder, name).read_text(encoding="utf-8"))
        split = parse_json(_split_file(folder, name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CasPLError(f"{folder} is not a whole {name} ({error}); {advice}") from error
    if marker != _marker(split, version, seed):
        raise CasPLError(f"{folder} is of another version or seed of {name} than {version} and {seed}; {advice}")
    there = {str(path.relative_to(folder / "images")) for path in folder.glob("images/*/*.png")}
    missing = [path for rows in split.values() for path, _, _ in rows if path not in there]
    if missing:
        raise CasPLError(f"{folder} lacks {len(missing)} images, such as {missing[0]}; {advice}")
