"""Fixtures: a data set in small, a world that has it, and no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.small import Small, write_small
from tests.data.world import World


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    """Write a data set in small, below the temporary folder."""
    return lambda name: write_small(name, tmp_path, monkeypatch)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], World]:
    """Make the world of a data set."""
    return lambda name: World(name, tmp_path, monkeypatch)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr("socket.socket.connect", refuse)
