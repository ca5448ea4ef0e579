"""CasPL: cascade prompt learning for CLIP (arXiv 2409.17805).

The library behind the trainers: plain CLIP towers that can be opened at their blocks (``caspl.towers``),
prompt segments and their cascade (``caspl.prompts``), the prompted model (``caspl.model``), frozen teachers
(``caspl.teachers``), losses (``caspl.losses``) and the training step (``caspl.step``). :func:`caspl.load`
gives a trained model from its checkpoint. Everything takes typed arguments; but for ``caspl.dassl``, nothing here
knows a configuration system or a training engine.

Public are the names of ``caspl.__all__`` and what the documents show; all else may change.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_PUBLIC = {
    "CasPLError": "caspl.errors",
    "Predictor": "caspl.predictor",
    "attach": "caspl.attach",
    "Prediction": "caspl.predictor",
    "list_methods": "caspl.lists",
    "list_students": "caspl.lists",
    "load": "caspl.predictor",
}
"""Public names and the modules that they stand in; imported when they are first asked for."""

__all__ = ["CasPLError", "Prediction", "Predictor", "__version__", "attach", "list_methods", "list_students", "load"]

if TYPE_CHECKING:
    from caspl.attach import attach
    from caspl.errors import CasPLError
    from caspl.lists import list_methods, list_students
    from caspl.predictor import Prediction, Predictor, load


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'caspl' has no attribute {name!r}")
    found = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
