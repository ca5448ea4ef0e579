"""The data sets. Every module in this folder is imported here, so a new data set is one new file and one YAML file."""

from __future__ import annotations

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
