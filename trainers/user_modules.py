"""Trainers from a user's own file: ``train.py --plugin my_method.py`` imports it, and what it registers is there."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import tokenize
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from yacs.config import CfgNode

from caspl.errors import CasPLError


def load_plugins(names: Sequence[str]) -> list[ModuleType]:
    """Import users' modules; every trainer that they register gets its ``CasPL_`` form.

    Args:
        names: of modules, or paths of .py files. They are run: name none that you do not trust.

    Raises:
        CasPLError: if one is not found, or registers a name that is taken.
    """
    if not names:
        return []
    from caspl.dassl.plugin import register_cascades  # late: few runs need the hooks

    modules = [_load(name) for name in names]
    register_cascades()  # those of trainers.registry have theirs
    return modules


def extend_by_plugins(cfg: CfgNode, modules: Sequence[ModuleType]) -> None:
    """Let modules that have an ``extend_cfg(cfg)``, as the field writes it, add their sections."""
    for module in modules:
        if hasattr(module, "extend_cfg"):
            module.extend_cfg(cfg)


def _load(name: str) -> ModuleType:
    path = Path(name)
    try:
        if path.suffix != ".py":
            return importlib.import_module(name)
        if not path.is_file():
            raise CasPLError(f"no file {name} (--plugin)")
        return _run_file(path)
    except ModuleNotFoundError as error:
        if error.name is None or not (name + ".").startswith(error.name + "."):
            raise  # something that it imports itself
        raise CasPLError(f"no module {name} (--plugin): give the path of a .py file, or a module's name") from error
    except KeyError as error:
        if "already registered" not in str(error):
            raise
        raise CasPLError(f"--plugin {name}: {error.args[0]}; rename the class") from error


def _run_file(path: Path) -> ModuleType:
    """A file as a module, once; what lies beside it can be imported.

    One that says ``from .oxford_pets import OxfordPets``, as the data-set files of the field do, means those here.
    """
    with tokenize.open(path) as file:
        relative = re.search(r"^from \.(\w| import)", file.read(), re.M)
    name = f"datasets.{path.stem}" if relative else path.stem
    loaded = sys.modules.get(name)
    if loaded is not None:
        if Path(loaded.__file__ or "").resolve() == path.resolve():
            return loaded
        raise CasPLError(f"--plugin {path}: there is another module {name}; rename the file")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.append(str(path.parent.resolve()))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
