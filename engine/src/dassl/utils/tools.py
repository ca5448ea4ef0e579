"""Small helpers for files, seeds and lists."""

from __future__ import annotations

import json
import os
import random
import warnings
from contextlib import nullcontext
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image

from .atomic import atomic_write

__all__ = [
    "check_isfile",
    "collect_env_info",
    "listdir_nohidden",
    "mkdir_if_missing",
    "read_image",
    "read_json",
    "set_random_seed",
    "tolist_if_not",
    "write_json",
]


def mkdir_if_missing(dirname: str) -> None:
    """Create a folder with its parents; it may exist already. "" is a FileNotFoundError."""
    os.makedirs(dirname, exist_ok=True)


def check_isfile(fpath: str) -> bool:
    """Return whether ``fpath`` is a file, with a UserWarning if it is not."""
    found = os.path.isfile(fpath)
    if not found:
        warnings.warn(f'No file found at "{fpath}"', stacklevel=2)
    return found


def read_json(fpath: str) -> Any:
    """Read a JSON file."""
    with open(fpath, encoding="utf-8") as file:
        return json.load(file)


def write_json(obj: Any, fpath: str) -> None:
    """Write ``obj`` as indented ASCII JSON, atomically, creating the folder if needed."""
    # A bare file name belongs to the current folder.
    mkdir_if_missing(os.path.dirname(fpath) or ".")
    with atomic_write(fpath, "w") as file:
        json.dump(obj, file, indent=4, separators=(",", ": "))


class ImageError(OSError):
    """A missing or broken image file."""


def read_image(path: str) -> Image.Image:
    """Read an image file as RGB, whatever the backend of transforms.

    Of 16-bit grey values the high byte is taken, as it is of 16-bit colours; alpha is dropped, a palette's too; CMYK is
    converted without its profile; EXIF rotation is not applied.

    Raises:
        ImageError: if it is missing, broken, or of numbers without a scale; the message names it.
    """
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
                return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).astype(np.uint8)).convert("RGB")
            if image.mode in ("I", "F"):
                raise ValueError(
                    f"it holds grey values of 32 bits ({image.mode}), of which nothing tells the white one"
                )
            if image.mode == "P" and "transparency" in image.info:
                return image.convert("RGBA").convert("RGB")
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"the image {path} cannot be read: {error}") from error


def listdir_nohidden(path: str, sort: bool = False) -> list[str]:
    """List the names in a folder that do not start with a dot.

    Args:
        path: the folder.
        sort: sort the names; otherwise they come in the order of the file system.
    """
    names = [name for name in os.listdir(path) if not name.startswith(".")]
    return sorted(names) if sort else names


def tolist_if_not(x: Any) -> list[Any]:
    """Wrap anything that is not a list, tuples too, into a list of one."""
    return x if isinstance(x, list) else [x]


def set_random_seed(seed: int) -> None:
    """Seed the global generators of Python, numpy and torch (CPU and all CUDA devices)."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)


def collect_env_info() -> str:
    """Describe platform and versions. Slow: it starts other programs to ask them."""
    from unittest.mock import patch

    from torch.utils import collect_env

    def loading() -> str:
        return os.environ.get("CUDA_MODULE_LOADING", "N/A")

    # For this one line torch would start CUDA, which a run on the CPU has no use for.
    idle = not torch.cuda.is_initialized()
    with patch.object(collect_env, "get_cuda_module_loading_config", loading) if idle else nullcontext():
        return f"{collect_env.get_pretty_env_info()}\n        Pillow ({PIL.__version__})"
