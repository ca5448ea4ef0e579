"""Each data set in small, from its archives' form on disk to lists of items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dassl.data.datasets import DATASET_REGISTRY
from tests.datasets.conftest import Load
from tests.datasets.miniatures import MINIATURES, imagenet_sketch, oxford_flowers, stanford_cars, ucf101

CONFIGS = Path(__file__).parents[2] / "configs" / "datasets"
DRAWN = ["TinySat", "TinySatV2", "TinySatSketch", "TinySatR", "TinyCloth", "TinyWorld"]
TEST_ONLY = ["ImageNetA", "ImageNetR", "ImageNetSketch", "ImageNetV2"]
Root = Callable[[str], Path]

by_name = pytest.mark.parametrize("name", MINIATURES)
trainable = pytest.mark.parametrize("name", [name for name in MINIATURES if name not in TEST_ONLY])


def per_class(items: Any) -> dict[int, int]:
    return dict(Counter(item.label for item in items or ()))


@by_name
def test_lists_labels_and_names(name: str, load: Load, miniature_root: Root) -> None:
    expected = MINIATURES[name]
    dataset = load(name, root=miniature_root(name))
    assert dataset.classnames == list(expected.names)
    assert dataset.num_classes == len(expected.names)
    for items, count in zip((dataset.train_x, dataset.val, dataset.test), expected.per_class, strict=True):
        assert per_class(items) == {label: count for label in range(len(expected.names)) if count}
        for item in items or ():
            assert Path(item.impath).is_file()
            assert item.classname == expected.names[item.label]
            assert item.domain == 0


@by_name
def test_second_look_is_the_same(name: str, load: Load, miniature_root: Root) -> None:
    first, second = (load(name, root=miniature_root(name)) for _ in range(2))
    assert [item.impath for item in first.train_x] == [item.impath for item in second.train_x]
    assert [item.impath for item in first.test] == [item.impath for item in second.test]


@trainable
def test_shots(name: str, load: Load, miniature_root: Root) -> None:
    full = load(name, root=miniature_root(name))
    drawn, kept = (load(name, shots=2, root=miniature_root(name)) for _ in range(2))
    classes = range(len(MINIATURES[name].names))
    assert per_class(drawn.train_x) == dict.fromkeys(classes, 2)
    # ImageNet's val is its test list, and stays whole.
    assert per_class(drawn.val) == (per_class(full.val) if name == "ImageNet" else dict.fromkeys(classes, 2))
    assert {item.impath for item in drawn.train_x} < {item.impath for item in full.train_x}
    assert [item.impath for item in drawn.test] == [item.impath for item in full.test]
    assert [item.impath for item in drawn.train_x] == [item.impath for item in kept.train_x]


@trainable
def test_base_and_new(name: str, load: Load, miniature_root: Root) -> None:
    root = miniature_root(name)
    every, base, new = (load(name, shots=2, subset=subset, root=root) for subset in ("all", "base", "new"))
    names = MINIATURES[name].names
    half = (len(names) + 1) // 2
    assert base.classnames == list(names[:half])
    assert new.classnames == list(names[half:])
    assert per_class(new.test).keys() == set(range(len(names) - half))
    # One sample serves all three: the cut comes after the draw.
    assert {item.impath for item in every.train_x} == {item.impath for item in (*base.train_x, *new.train_x)}
    assert len(every.test) == len(base.test) + len(new.test)


@pytest.mark.parametrize("name", TEST_ONLY)
def test_test_only_sets_ignore_shots_and_subsets(name: str, load: Load, miniature_root: Root) -> None:
    dataset = load(name, shots=1, subset="new", root=miniature_root(name))
    assert dataset.classnames == list(MINIATURES[name].names)
    assert [item.impath for item in dataset.train_x] == [item.impath for item in dataset.test]
    assert not (Path(dataset.dataset_dir) / "split_fewshot").exists()


def test_configs_name_every_data_set_once() -> None:
    names = [yaml.safe_load(path.read_text())["DATASET"] for path in sorted(CONFIGS.glob("*.yaml"))]
    assert all(section.keys() == {"NAME"} for section in names)
    assert sorted(section["NAME"] for section in names) == sorted([*MINIATURES, "Folder", *DRAWN])
    assert set(DATASET_REGISTRY.registered_names()) >= {*MINIATURES, "Folder", *DRAWN}


def test_flowers_keep_the_order_of_the_annotations(load: Load, tmp_path: Path) -> None:
    oxford_flowers(tmp_path)
    labels = [item.label for item in load("OxfordFlowers").train_x]
    assert labels == [2] * 5 + [0] * 5 + [1] * 5


def test_cars_paths_start_with_their_part(load: Load, tmp_path: Path) -> None:
    stanford_cars(tmp_path)
    dataset = load("StanfordCars")
    assert {Path(item.impath).parent for item in dataset.train_x} == {tmp_path / "stanford_cars" / "cars_train"}
    # The order of the test list is that of the files.
    assert [item.label for item in dataset.test] == [0, 1, 2] * 3


def test_ucf_keeps_the_spelling_of_the_videos(load: Load, tmp_path: Path) -> None:
    ucf101(tmp_path)
    (name,) = {Path(item.impath).name[:19] for item in load("UCF101").test if item.classname == "Handstand_Pushups"}
    assert name == "v_HandStandPushups_"


def test_imagenet_names_come_with_open_clip_where_the_list_is_missing(load: Load, tmp_path: Path) -> None:
    pytest.importorskip("open_clip")
    imagenet_sketch(tmp_path)
    (tmp_path / "imagenet-sketch" / "classnames.txt").unlink()
    assert load("ImageNetSketch").classnames == list(MINIATURES["ImageNetSketch"].names)
