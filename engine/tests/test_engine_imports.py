"""Arrows between modules: none goes round in a circle, not even for the type checker."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import dassl

ROOT = Path(dassl.__file__).parent


def modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = ["dassl", *path.relative_to(ROOT).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def named(tree: ast.AST, package: str) -> set[str]:
    """Return all names that a module imports, in functions and under TYPE_CHECKING, too."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            origin = parts[: len(parts) - node.level + 1] if node.level else []
            source = ".".join([*origin, *([node.module] if node.module else [])])
            names |= {source, *(f"{source}.{alias.name}" for alias in node.names)}
    return names


def arrows(found: dict[str, Path]) -> dict[str, set[str]]:
    graph = {}
    for module, path in found.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        names = named(ast.parse(path.read_text(encoding="utf-8")), package)
        targets = {name for name in names if name in found} - {module}
        # Importing a.b.c runs the packages a and a.b first, but those around the module itself are there already.
        around = {".".join(target.split(".")[:end]) for target in targets for end in range(1, target.count(".") + 1)}
        graph[module] = {target for target in targets | around if not f"{module}.".startswith(f"{target}.")}
    return graph


def test_no_circle() -> None:
    graph = arrows(modules())
    # The walk sees relative imports, packages on the way, and those for the type checker.
    assert "dassl.engine.simple" in graph["dassl.engine.progress"]
    assert {"dassl.data", "dassl.data.data_manager"} <= graph["dassl.engine.simple"]
    assert "dassl.data.datasets.fewshot" in graph["dassl.data.datasets.base_dataset"]
    list(graphlib.TopologicalSorter(graph).static_order())
