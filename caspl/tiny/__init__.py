"""The embedded benchmark: a rendered data set, `tinysat`, and a pair of tiny CLIPs to try CasPL on a laptop.

Nothing here is downloaded: the pictures are drawn (:func:`write`, :func:`write_world`), the weights are part of the
package (:func:`load_state_dict`). How they came about: ``docs/tinysat.md``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import Tensor

from caspl.errors import CasPLError
from caspl.tiny.checksums import CHECKSUMS
from caspl.tiny.domain import CLASSNAMES, TEMPLATE
from caspl.tiny.store import read
from caspl.tiny.write import write, write_world

__all__ = ["CLASSNAMES", "MODELS", "TEMPLATE", "load_state_dict", "weights_file", "write", "write_world"]

MODELS: tuple[str, ...] = tuple(CHECKSUMS)
"""Names of the shipped models."""


def weights_file(name: str) -> Path:
    """Where the shipped weights of "student" or "teacher" lie.

    Raises:
        CasPLError: if there is no such model.
    """
    if name not in CHECKSUMS:
        raise CasPLError(f"no tiny model is called {name!r}; there are {' and '.join(MODELS)}")
    return Path(__file__).parent / "weights" / f"{name}.safetensors"


def load_state_dict(name: str) -> dict[str, Tensor]:
    """The whole OpenAI-format state dict, float32, of the shipped "student" or "teacher".

    Rows of the token table for words that the models never met are zero.

    Raises:
        CasPLError: for another name, or if the shipped file is missing or damaged.
    """
    path = weights_file(name)
    if not path.is_file():
        raise CasPLError(f"{path} is missing; install the package anew")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != CHECKSUMS[name]:
        raise CasPLError(f"{path} is damaged (SHA-256 {found[:12]}..., not {CHECKSUMS[name][:12]}...); install anew")
    return read(path)
