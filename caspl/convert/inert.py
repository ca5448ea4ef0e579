"""Read what ``torch.save`` wrote, objects included, without running anything that the file names.

Checkpoints of older Dassl versions hold whole scheduler and optimizer objects, so that torch's ``weights_only`` reader
refuses them. Here tensors, dictionaries, lists and plain values come back, and everything else as :class:`Inert`.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch._utils import _rebuild_tensor_v2

from caspl.errors import CasPLError, first_line


class Inert:
    """Stands where a file names a class or a function: takes what it is given, keeps nothing, does nothing."""

    def __init__(self, *given: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, value: object) -> None: ...


_REAL = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        return _REAL.get((module_name, global_name), Inert)


# What torch.load expects of a pickle module.
_PICKLE = SimpleNamespace(__name__=__name__, Unpickler=_Unpickler)


def read_inertly(path: str | Path) -> Any:
    """The content of a file, its tensors on the CPU and mapped, so that only those that are used are read.

    Raises:
        CasPLError: if there is no file, or none that torch.save wrote in the zip format (the default since 2020).
    """
    path = Path(path)
    if not path.is_file():
        raise CasPLError(f"no checkpoint at {path}")
    if not zipfile.is_zipfile(path):
        raise CasPLError(
            f"{path} is not a whole checkpoint of torch 1.6 or later: download it again, or, if you trust an older "
            "one, load it and torch.save it anew"
        )
    try:
        with warnings.catch_warnings():
            # To a TorchScript archive torch.load would apply a reader that can run what is in it, after this warning.
            warnings.filterwarnings("error", message=".*TorchScript archive")
            # mmap=True also refuses a file of the old format with a zip archive behind it.
            return torch.load(path, map_location="cpu", pickle_module=_PICKLE, weights_only=False, mmap=True)
    except Exception as error:  # a damaged file can fail in any way
        raise CasPLError(f"the checkpoint {path} cannot be read: {first_line(error)}") from error
