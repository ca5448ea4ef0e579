"""TinyWorld: written on first use; and phase 1 over its pictures with TinySat's names."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from caspl.boosting import read_boosting
from caspl.errors import CasPLError
from caspl.tiny import CLASSNAMES, shapes, write_world
from caspl.tiny.domain import SPLITS
from caspl.tiny.recipe import RECIPES
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from tests.datasets.conftest import Load
from tests.stubs import make_cfg


@pytest.fixture(autouse=True)
def _few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    # Through sys.modules: the package exports a function of the same name.
    module = importlib.import_module("caspl.tiny.write")
    for split, count in {"train": 2, "val": 1, "test": 1}.items():
        monkeypatch.setitem(SPLITS, split, count)
    monkeypatch.setattr(module, "WORLD_SPLITS", {"train": 200, "val": 50, "test": 50})


def test_first_use_writes_it(load: Load, tmp_path: Path) -> None:
    dataset = load("TinyWorld", root=tmp_path / "data")
    assert dataset.classnames == list(shapes.NAMES)
    assert (len(dataset.train_x), len(dataset.val), len(dataset.test)) == (200, 50, 50)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.png")}
    assert len(written) == 300
    load("TinyWorld", shots=1, root=tmp_path / "data")
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_it_has_as_many_training_images_as_tinysat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    module = importlib.import_module("caspl.tiny.write")
    assert module.WORLD_SPLITS["train"] == SPLITS["train"] * len(CLASSNAMES)


def test_pictures_follow_from_the_seed_alone(tmp_path: Path) -> None:
    first, again = (write_world(tmp_path / name) for name in ("first", "again"))
    pictures = [np.asarray(Image.open(path)) for path in sorted(first.rglob("*.png"))]
    others = [np.asarray(Image.open(path)) for path in sorted(again.rglob("*.png"))]
    assert all(np.array_equal(a, b) for a, b in zip(pictures, others, strict=True))
    assert pictures[0].shape == (32, 32, 3)
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
    module = importlib.import_module("caspl.tiny.write")
    assert module.WORLD_SEED not in {recipe.pool_seed for recipe in RECIPES.values()}


def test_a_damaged_folder_is_refused(load: Load, tmp_path: Path) -> None:
    load("TinyWorld")
    next((tmp_path / "tinyworld").rglob("*.png")).unlink()
    with pytest.raises(CasPLError, match="tinyworld lacks 1 images"):
        load("TinyWorld")


def phase_1(folder: Path, images: str, **settings: Any) -> Any:
    settings = {
        "DATASET__NAME": "TinySat",
        "DATASET__ROOT": str(folder / "data"),
        "DATALOADER__NUM_WORKERS": 0,
        "DATALOADER__TRAIN_X__BATCH_SIZE": 20,
        "DATALOADER__TEST__BATCH_SIZE": 20,
        "INPUT__TRANSFORMS": ["normalize"],
        "OPTIM__MAX_EPOCH": 1,
        "OPTIM__WARMUP_EPOCH": -1,
        "OUTPUT_DIR": str(folder / "run"),
        "TRAINER__CASPL__TEACHER": "tiny-teacher",
        "TRAINER__CASPL__BOOSTING_DIR": str(folder / "boosting"),
        "TRAINER__CASPL__IMAGES": images,
    } | settings
    return TRAINER_REGISTRY.get("CasPL")(make_cfg("CasPL", "tiny-student", 32, **settings))


def looked_at(trainer: Any) -> list[Path]:
    return [Path(item.impath) for item in trainer.train_loader_x.dataset.data_source]


def test_phase_1_looks_at_another_data_sets_images_with_its_own_names(tmp_path: Path) -> None:
    trainer = phase_1(tmp_path, "TinyWorld")
    world = tmp_path / "data" / "tinyworld" / "images"
    assert len(looked_at(trainer)) == 200
    assert all(path.is_relative_to(world) for path in looked_at(trainer))
    trainer.train()
    (file,) = (tmp_path / "boosting").rglob("*.safetensors")
    header = read_boosting(file).header
    assert (header.dataset, header.images, header.classnames) == ("TinySat", "TinyWorld", CLASSNAMES)
    assert trainer.distillation.teacher.text.shape[0] == len(CLASSNAMES)
    assert all("tinysat" in item.impath for item in trainer.test_loader.dataset.data_source)


def test_by_default_phase_1_looks_at_the_data_sets_own_images(tmp_path: Path) -> None:
    trainer = phase_1(tmp_path, "")
    assert trainer.train_loader_x is trainer.dm.train_loader_x
    assert not (tmp_path / "data" / "tinyworld").exists()


def test_few_images_are_drawn_from_every_class(tmp_path: Path) -> None:
    assert sorted(path.parent.name for path in looked_at(phase_1(tmp_path, "", DATASET__NUM_SHOTS=1))) == sorted(
        name.replace(" ", "_") for name in CLASSNAMES
    )
    counts = [path.parent.name for path in looked_at(phase_1(tmp_path, "TinyWorld", DATASET__NUM_SHOTS=2))]
    assert {name: counts.count(name) for name in counts} == dict.fromkeys(shapes.NAMES, 2)


@pytest.mark.parametrize(
    ("name", "says"),
    [("TinyWord", "name of a data set, not 'TinyWord'; there are .*, TinyWorld"), ("EuroSAT", "there is no folder")],
)
def test_a_data_set_that_is_not_there(name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(CasPLError, match=says):
        phase_1(tmp_path, name)


def test_a_data_set_without_training_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DATASET_REGISTRY.get("TinyWorld"), "test_only", True)
    with pytest.raises(CasPLError, match="TinyWorld has test images only"):
        phase_1(tmp_path, "TinyWorld")
