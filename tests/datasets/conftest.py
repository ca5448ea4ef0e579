"""Fixtures: one miniature of each data set for the whole session, a configuration, the engine's log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from yacs.config import CfgNode

import datasets  # noqa: F401  registers
from dassl.data.datasets import DATASET_REGISTRY
from tests.datasets.miniatures import MINIATURES

Load = Callable[..., Any]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Construct a data set by name, below the temporary folder unless ``root`` is given."""

    def construct(name: str, shots: int = -1, subset: str = "all", seed: int = 1, root: Path = tmp_path) -> Any:
        dataset = {"NAME": name, "ROOT": str(root), "NUM_SHOTS": shots, "SUBSAMPLE_CLASSES": subset}
        return DATASET_REGISTRY.get(name)(CfgNode({"SEED": seed, "DATASET": dataset}))

    return construct


@pytest.fixture(scope="session")
def miniature_root(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The root of a data set in small, written on first use. Tests that change files write their own."""
    roots: dict[str, Path] = {}

    def root_of(name: str) -> Path:
        if name not in roots:
            root = tmp_path_factory.mktemp(name)
            MINIATURES[name].write(root)
            roots[name] = root
        return roots[name]

    return root_of


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What the engine's logger says; it does not pass its records on, so pytest would miss them."""
    logger = logging.getLogger("dassl")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)
