"""TinySat: written on first use, then read as the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from caspl.errors import CasPLError
from caspl.prompts.templates import template_for
from caspl.tiny import CLASSNAMES
from caspl.tiny.domain import DOMAINS, SPLITS, TESTED
from dassl.data.datasets import DATASET_REGISTRY
from tests.datasets.conftest import Load


@pytest.fixture(autouse=True)
def _few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    for splits in (SPLITS, TESTED):
        for split, count in {"train": 3, "val": 2, "test": 2}.items():
            monkeypatch.setitem(splits, split, count)


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


@pytest.mark.parametrize("name", ["TinySatV2", "TinySatSketch", "TinySatR", "TinyCloth"])
def test_the_other_domains_are_written_too(name: str, load: Load, tmp_path: Path) -> None:
    domain = DOMAINS[DATASET_REGISTRY.get(name).dataset_dir]
    dataset = load(name, shots=2)
    classes = len(domain.classnames)
    assert dataset.classnames == list(domain.classnames)
    assert (len(dataset.train_x), len(dataset.val), len(dataset.test)) == (2 * classes, 2 * classes, 2 * classes)
    assert [path.name for path in tmp_path.iterdir()] == [domain.name]
    assert template_for(name) == domain.template
