"""Whether images can be decoded, in several threads."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from caspl.errors import first_line

CHUNK = 64


def undecodable(image_dir: Path, paths: Sequence[str], title: str) -> list[tuple[str, str]]:
    """Decode every image as training does; returns the paths of those that fail, each with the reason."""
    # In chunks, since a pool keeps an object for everything that it is given: ImageNet has a million images.
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    found = []

    def faults(chunk: Sequence[str]) -> list[tuple[str, str]]:
        return [(path, reason) for path in chunk if (reason := _fault(image_dir / path))]

    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(min(16, 2 * (os.cpu_count() or 1))) as pool,
        tqdm(total=len(paths), desc=title, unit="image", disable=None) as bar,
    ):
        # Odd metadata is no fault.
        warnings.simplefilter("ignore")
        for chunk, bad in zip(chunks, pool.map(faults, chunks), strict=True):
            found += bad
            bar.update(len(chunk))
    return found


def _fault(path: Path) -> str:
    try:
        with Image.open(path) as image:
            image.convert("RGB")
    # PIL's readers fail in many ways on damaged files.
    except Exception as error:
        return first_line(error)
    return ""
