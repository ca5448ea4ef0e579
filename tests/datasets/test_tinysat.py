"""TinySat: written on first use, then read as the others."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from caspl.errors import CasPLError
from caspl.tiny import CLASSNAMES
from tests.datasets.conftest import Load


@pytest.fixture(autouse=True)
def _few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    # Through sys.modules: the package exports a function of the same name.
    monkeypatch.setattr(importlib.import_module("caspl.tiny.write"), "SPLITS", {"train": 3, "val": 2, "test": 2})


def test_first_use_writes_it(load: Load, tmp_path: Path) -> None:
    dataset = load("TinySat", shots=2, root=tmp_path / "data")
    assert dataset.classnames == list(CLASSNAMES)
    assert (len(dataset.train_x), len(dataset.val), len(dataset.test)) == (40, 40, 40)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.png")}
    new = load("TinySat", shots=2, subset="new", root=tmp_path / "data")
    assert new.classnames == list(CLASSNAMES[10:])
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_nothing_is_written_without_a_root(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CasPLError, match="there is no data root"):
        load("TinySat", root="")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_folder_is_refused(load: Load, tmp_path: Path) -> None:
    load("TinySat")
    next((tmp_path / "tinysat").rglob("*.png")).unlink()
    with pytest.raises(CasPLError, match="lacks 1 images"):
        load("TinySat")
