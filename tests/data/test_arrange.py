"""What users and libraries have left on disk becomes CoOp's layout, by links; nothing of theirs changes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from caspl.data import PUBLISHED
from caspl.data.arrange import FORMS, arrange, missing_parts
from tests.data.small import tree
from tests.data.world import World
from tests.datasets.miniatures import images

Make = Callable[[str], World]

# Where parts lie in the data root, and what they are in CoOp's layout.
IN_THE_ROOT = {
    "Caltech101": {"caltech101/101_ObjectCategories": "101_ObjectCategories"},
    "OxfordPets": {"oxford-iiit-pet/images": "images", "oxford-iiit-pet/annotations": "annotations"},
    "OxfordFlowers": {"flowers-102/jpg": "jpg", "flowers-102/imagelabels.mat": "imagelabels.mat"},
    "Food101": {"food101/images": "images"},
    "FGVCAircraft": {
        "fgvc-aircraft-2013b/data/images": "images",
        "fgvc-aircraft-2013b/data/variants.txt": "variants.txt",
        "fgvc-aircraft-2013b/data/images_variant_train.txt": "images_variant_train.txt",
        "fgvc-aircraft-2013b/data/images_variant_val.txt": "images_variant_val.txt",
        "fgvc-aircraft-2013b/data/images_variant_test.txt": "images_variant_test.txt",
    },
    "SUN397": {"SUN397": "SUN397", "SUN397/ClassName.txt": "ClassName.txt"},
    "DescribableTextures": {"dtd/dtd/images": "images", "dtd/dtd/labels": "labels"},
    "EuroSAT": {"eurosat/EuroSAT_RGB": "2750"},
    "ImageNet": {"imagenet/train": "images/train", "imagenet/val": "images/val"},
    "ImageNetV2": {"imagenetv2-matched-frequency-format-val": "imagenetv2-matched-frequency-format-val"},
    "ImageNetSketch": {"imagenet-sketch/sketch": "images"},
    "ImageNetA": {"imagenet-a": "imagenet-a"},
    "ImageNetR": {"imagenet-r": "imagenet-r"},
}


def lay(made: World, places: dict[str, str], root: Path) -> None:
    for place, part in places.items():
        source, target = made.data / part, root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)


def options(made: World) -> list[object]:
    return ["--split", made.data] if made.published.split_file else []


@pytest.mark.parametrize("name", IN_THE_ROOT)
def test_in_the_data_root(name: str, world: Make, tmp_path: Path) -> None:
    made = world(name)
    lay(made, IN_THE_ROOT[name], made.root)
    before = tree(made.root)
    assert made.prepare(*options(made)) == 0
    assert made.asked == []
    assert made.laid_out()
    after = tree(made.root)
    changed = {path for path in before if before[path] != after[path]}
    # Links and files of ours were added; folders that they were added to changed.
    assert changed <= {".", "dtd", "eurosat", "imagenet", "imagenet-sketch"}
    for part in IN_THE_ROOT[name].values():
        assert (made.here / part).is_symlink()
        assert not os.path.isabs(os.readlink(made.here / part))
    # So the root can be moved as a whole.
    made.root.rename(tmp_path / "moved")
    made.root = tmp_path / "moved"
    made.here = made.root / made.published.folder
    assert made.prepare() == 0
    assert made.laid_out()


@pytest.mark.parametrize("name", PUBLISHED)
def test_from_a_folder_in_coops_layout(name: str, world: Make) -> None:
    made = world(name)
    before = tree(made.data)
    assert made.prepare("--from", made.data.parent) == 0
    assert made.asked == []
    assert made.laid_out()
    assert tree(made.data) == before


@pytest.mark.parametrize(
    ("name", "given", "places"),
    [
        ("SUN397", "SUN397", {"SUN397": "SUN397"}),
        ("DescribableTextures", "dtd", {"dtd/images": "images"}),
        ("DescribableTextures", "anything/images", {"anything/images": "images"}),
        ("EuroSAT", "EuroSAT_RGB", {"EuroSAT_RGB": "2750"}),
        ("ImageNetSketch", "sketch", {"sketch": "images"}),
        ("ImageNet", "train", {"train": "images/train", "val": "images/val"}),
        ("FGVCAircraft", "fgvc-aircraft-2013b", IN_THE_ROOT["FGVCAircraft"]),
        # Kaggle's copy of the cars.
        (
            "StanfordCars",
            "archive",
            {"archive/cars_train/cars_train": "cars_train", "archive/cars_test/cars_test": "cars_test"},
        ),
    ],
)
def test_from_a_folder(name: str, given: str, places: dict[str, str], world: Make, tmp_path: Path) -> None:
    made = world(name)
    mine = tmp_path / "mine"
    lay(made, places, mine)
    before = tree(mine)
    assert made.prepare("--from", mine / given, *options(made)) == 0
    assert made.laid_out()
    assert tree(mine) == before


def test_what_is_there_stays(world: Make) -> None:
    made = world("EuroSAT")
    images(made.here, ["2750/AnnualCrop/mine.jpg", "notes/mine.jpg"])
    before = tree(made.here)
    assert made.prepare("--from", made.data) == 1  # whose images are not the published ones
    assert {path: time for path, time in tree(made.here).items() if path in before and path != "."} == {
        path: time for path, time in before.items() if path != "."
    }


def test_another_sets_images_are_not_taken(world: Make) -> None:
    made = world("DescribableTextures")
    images(made.root, ["images/a.jpg"])
    assert not arrange(made.published, made.root, made.root)
    assert not made.here.exists()


def test_half_of_a_data_set_is_not_taken(world: Make, tmp_path: Path) -> None:
    made = world("StanfordCars")
    images(tmp_path / "mine", ["cars_train/00001.jpg"])
    assert not arrange(made.published, made.root, tmp_path / "mine")
    assert len(missing_parts(made.published, made.root)) == 2
    assert not made.here.exists()


def test_a_link_to_nowhere(world: Make, capsys: pytest.CaptureFixture[str]) -> None:
    made = world("EuroSAT")
    made.here.mkdir(parents=True)
    (made.here / "2750").symlink_to("gone")
    assert made.prepare(*options(made)) == 1
    assert f"{made.here / '2750'} links to gone, which is not there" in capsys.readouterr().out
    assert os.readlink(made.here / "2750") == "gone"


@pytest.mark.parametrize("move", [False, True])
def test_an_empty_folder_is_missing(move: bool, world: Make) -> None:
    made = world("EuroSAT")
    (made.here / "2750").mkdir(parents=True)
    assert made.prepare(*([] if move else ["--from", made.data])) == 0
    assert made.laid_out()


def test_an_archive_unpacked_in_place(world: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = world("StanfordCars")
    deep = made.here / "cars_train" / "cars_train"
    lay(made, {"cars_train/cars_train": "cars_train", "cars_test": "cars_test"}, made.here)
    before = tree(made.here / "cars_train")
    assert made.prepare(*options(made)) == 1
    assert f"{deep} lies one folder too deep: move what it holds to {deep.parent}" in capsys.readouterr().out
    assert tree(made.here / "cars_train") == before
    # In a folder of another place it is found.
    eurosat = world("EuroSAT")
    lay(eurosat, {"2750/2750": "2750"}, tmp_path / "mine")
    assert eurosat.prepare("--from", tmp_path / "mine", *options(eurosat)) == 0
    assert eurosat.laid_out()


def test_a_file_system_that_ignores_case(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = world("SUN397")
    made.here.mkdir(parents=True)
    # There, SUN397 is found although the folder is called sun397.
    (made.root / "SUN397").symlink_to("sun397")
    assert not arrange(made.published, made.root, made.root)
    assert not (made.here / "SUN397").exists()


def test_forms_and_table_agree() -> None:
    assert FORMS.keys() == PUBLISHED.keys()
    for name, published in PUBLISHED.items():
        parts = FORMS[name].needed
        assert published.images == "" or any(part.split("/")[0] == published.images for part in parts)
