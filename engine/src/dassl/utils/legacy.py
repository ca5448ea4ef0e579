"""Reading checkpoints of older versions without trusting them.

Those files hold whole scheduler and optimizer *objects*. Here an allow-list rebuilds tensors and plain
containers; a class of ``torch.optim`` becomes an :class:`Inert` object that only keeps what it was given;
anything else is refused.
"""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import numpy
import torch

__all__ = ["Inert", "load_legacy"]


class Inert:
    """Stands for an object of a class that is not restored: its attributes, and no behaviour."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Ignore the arguments."""

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


_BUILTINS = {
    "dict",
    "list",
    "set",
    "frozenset",
    "tuple",
    "int",
    "float",
    "bool",
    "complex",
    "str",
    "bytes",
    "bytearray",
    "slice",
}

_ALLOWED = {
    "builtins": _BUILTINS,
    "collections": {"OrderedDict", "defaultdict", "Counter"},
    "_codecs": {"encode"},
    "torch": {
        "Size",
        "device",
        *(name for name in dir(torch) if isinstance(getattr(torch, name), torch.dtype)),
    },
    "torch._utils": {
        "_rebuild_parameter",
        "_rebuild_parameter_with_state",
        "_rebuild_tensor",
        "_rebuild_tensor_v2",
    },
    "torch.nn.parameter": {"Parameter"},
    "torch.serialization": {"_get_layout"},
    "torch.storage": {"TypedStorage", "UntypedStorage"},
    # A metric may have been a numpy scalar.
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"scalar", "_reconstruct"},
    "numpy._core.multiarray": {"scalar", "_reconstruct"},
}


class _Unpickler(pickle.Unpickler):
    """Finds what is allowed, by exact name."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if module_name == "torch.optim" or module_name.startswith("torch.optim."):
            return Inert
        module_name = "builtins" if module_name == "__builtin__" else module_name
        if module_name.startswith("numpy.core") and hasattr(numpy, "_core"):
            module_name = module_name.replace("numpy.core", "numpy._core")
        if global_name in _ALLOWED.get(module_name, ()):
            return super().find_class(module_name, global_name)
        raise pickle.UnpicklingError(
            f"refusing to restore {module_name}.{global_name}: a checkpoint may hold tensors and plain "
            "values only; save it again without such objects if you trust its origin"
        )


def _load_stream(file: Any, **kwargs: Any) -> Any:
    return _Unpickler(file, **kwargs).load()


# What torch.load expects of a pickle module.
_RESTRICTED = SimpleNamespace(__name__="dassl.utils.legacy", Unpickler=_Unpickler, load=_load_stream)


def load_legacy(fpath: str, map_location: str | None) -> Any:
    """Read a file that the safe loader of torch refuses.

    Args:
        fpath: the file.
        map_location: where its tensors go; None leaves them where they were.

    Raises:
        pickle.UnpicklingError: it names something outside the allow-list.
    """
    return torch.load(fpath, map_location=map_location, pickle_module=_RESTRICTED, weights_only=False)
