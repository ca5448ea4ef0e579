"""Whether images can be decoded, in several threads."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from PIL import Image
from tqdm import tqdm

from caspl.errors import first_line
from caspl.terminal import shape

T = TypeVar("T")

CHUNK = 64


def undecodable(image_dir: Path, paths: Sequence[str], title: str) -> list[tuple[str, str]]:
    """Decode every image as training does; returns the paths of those that fail, each with the reason."""
    reasons = of_each(paths, lambda path: _fault(image_dir / path), title)
    return [(path, reason) for path, reason in zip(paths, reasons, strict=True) if reason]


def of_each(paths: Sequence[str], look: Callable[[str], T], title: str) -> list[T]:
    """What ``look`` says of each path, in order; in threads behind a progress bar of that title."""
    # In chunks, since a pool keeps an object for everything that it is given: ImageNet has a million images.
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    found: list[T] = []
    columns, rows = shape(sys.stderr)
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1))) as pool,
        tqdm(total=len(paths), desc=title, unit="image", disable=None, ncols=columns, nrows=rows) as bar,
    ):
        # Odd metadata is no fault.
        warnings.simplefilter("ignore")
        for some in pool.map(lambda chunk: [look(path) for path in chunk], chunks):
            found += some
            bar.update(len(some))
    return found


def _fault(path: Path) -> str:
    try:
        with Image.open(path) as image:
            image.convert("RGB")
    # PIL's readers fail in many ways on damaged files.
    except Exception as error:
        return first_line(error)
    return ""
