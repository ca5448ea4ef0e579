"""What users get wrong: one sentence, with the path that was looked for and the way out."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from caspl.errors import CasPLError
from dassl.data.datasets import DATASET_REGISTRY
from tests.datasets import miniatures
from tests.datasets.conftest import Load
from tests.datasets.digits import write_eurosat_digits
from tests.datasets.miniatures import MINIATURES, images, text

SPLIT = "split_zhou_EuroSAT.json"


def complaint(load: Load, name: str, **options: object) -> str:
    """The one sentence."""
    with pytest.raises(CasPLError) as caught:
        load(name, shots=2, **options)
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", MINIATURES)
def test_no_data_root(name: str, load: Load, tmp_path: Path) -> None:
    folder = DATASET_REGISTRY.get(name).dataset_dir
    message = complaint(load, name, root=tmp_path / "nowhere")
    assert f"there is no folder {tmp_path / 'nowhere' / folder}" in message
    assert f"{tmp_path / 'nowhere'} does not exist" in message
    assert "--root DIR or $DATA" in message


def test_empty_root(load: Load) -> None:
    assert "no data root: give it with --root DIR or $DATA" in complaint(load, "EuroSAT", root="")


def test_misnamed_folders_are_listed(load: Load, tmp_path: Path) -> None:
    (tmp_path / "food101").mkdir()
    assert f"{tmp_path} holds food101" in complaint(load, "Food101")
    (tmp_path / "eurosat" / "EuroSAT_RGB").mkdir(parents=True)
    message = complaint(load, "EuroSAT")
    assert f"no folder {tmp_path}/eurosat/2750 ({tmp_path}/eurosat holds EuroSAT_RGB)" in message
    assert "DIR/eurosat/2750" in message


def test_empty_image_folder(load: Load, tmp_path: Path) -> None:
    (tmp_path / "eurosat" / "2750").mkdir(parents=True)
    message = complaint(load, "EuroSAT")
    assert SPLIT in message
    assert "2750 has no class folders" in message


def test_empty_class_folder(load: Load, tmp_path: Path) -> None:
    folder = write_eurosat_digits(tmp_path, per_class=4)
    shutil.rmtree(folder / "2750" / "River")
    (folder / "2750" / "River").mkdir()
    assert "2750/River holds no image" in complaint(load, "EuroSAT")


def test_split_made_here_is_marked_and_kept(load: Load, tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    folder = write_eurosat_digits(tmp_path, per_class=4)
    for _ in range(2):
        log.clear()
        load("EuroSAT")
        assert "not the published split" in log.text
        assert "drive.google.com" in log.text
    content = json.loads((folder / SPLIT).read_text())
    del content["origin"]
    (folder / SPLIT).write_text(json.dumps(content))
    log.clear()
    load("EuroSAT")
    assert not log.text


def test_split_is_made_in_a_folder_that_cannot_be_written(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
) -> None:
    folder = write_eurosat_digits(tmp_path, per_class=4)

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    assert len(load("EuroSAT", shots=1).train_x) == 10
    assert "the split is not kept" in log.text
    assert "the few-shot sample is not kept" in log.text
    assert [path.name for path in folder.rglob("*.json")] == []


def test_broken_split_file(load: Load, tmp_path: Path) -> None:
    folder = write_eurosat_digits(tmp_path, per_class=4)
    (folder / SPLIT).write_text("<html>")
    assert f"{folder / SPLIT} cannot be read" in complaint(load, "EuroSAT")


def test_missing_images(load: Load, tmp_path: Path) -> None:
    folder = write_eurosat_digits(tmp_path, per_class=4)
    load("EuroSAT")
    shutil.rmtree(folder / "2750" / "SeaLake")
    message = complaint(load, "EuroSAT")
    assert "4 of 40 images of the split are missing" in message
    assert str(folder / "2750" / "SeaLake" / "SeaLake_1.jpg") in message


def test_linked_images_are_found(load: Load, tmp_path: Path) -> None:
    folder = write_eurosat_digits(tmp_path, per_class=4)
    load("EuroSAT")
    (folder / "2750").rename(tmp_path / "elsewhere")
    (folder / "2750").symlink_to(tmp_path / "elsewhere")
    assert load("EuroSAT").num_classes == 10


def test_unsorted_imagenet_val(load: Load, tmp_path: Path) -> None:
    miniatures.imagenet(tmp_path)
    val = tmp_path / "imagenet" / "images" / "val"
    shutil.rmtree(val)
    images(val, ["ILSVRC2012_val_00000001.JPEG"])
    assert f"the images in {val} are not sorted into class folders" in complaint(load, "ImageNet")


def test_imagenet_parts_that_differ(load: Load, tmp_path: Path) -> None:
    miniatures.imagenet(tmp_path)
    shutil.rmtree(tmp_path / "imagenet" / "images" / "val" / "n01443537")
    assert "n01443537 is in one only" in complaint(load, "ImageNet")


def test_class_list_that_does_not_fit(load: Load, tmp_path: Path) -> None:
    miniatures.imagenet_sketch(tmp_path)
    names = tmp_path / "imagenet-sketch" / "classnames.txt"
    text(names, ["n01440764 tench"])
    assert "3 folders in" in complaint(load, "ImageNetSketch")
    text(names, ["n01440764"])
    assert f"{names}, line 1: 2 fields are expected" in complaint(load, "ImageNetSketch")
    text(names, ["n01440764 tench", "n01440764 goldfish"])
    assert "names 1 ids twice" in complaint(load, "ImageNetSketch")


@pytest.mark.parametrize("folder", ["13", "tench"])
def test_imagenetv2_folders_that_are_no_labels(folder: str, load: Load, tmp_path: Path) -> None:
    miniatures.imagenetv2(tmp_path)
    images(tmp_path / "imagenetv2" / "imagenetv2-matched-frequency-format-val", [f"{folder}/image.jpeg"])
    assert "do not fit each other" in complaint(load, "ImageNetV2")


@pytest.mark.parametrize(
    ("name", "file", "said"),
    [
        ("OxfordPets", "oxford_pets/annotations/trainval.txt", "trainval.txt is missing or unreadable"),
        ("FGVCAircraft", "fgvc_aircraft/variants.txt", "variants.txt is missing or unreadable"),
        ("SUN397", "sun397/ClassName.txt", "ClassName.txt is missing or unreadable"),
        ("UCF101", "ucf101/ucfTrainTestlist/classInd.txt", "classInd.txt is missing or unreadable"),
        ("StanfordCars", "stanford_cars/devkit/cars_meta.mat", "cars_meta.mat is missing"),
        ("OxfordFlowers", "oxford_flowers/imagelabels.mat", "imagelabels.mat is missing"),
        ("OxfordFlowers", "oxford_flowers/cat_to_name.json", "cat_to_name.json should name each class"),
    ],
)
def test_missing_lists(name: str, file: str, said: str, load: Load, tmp_path: Path) -> None:
    MINIATURES[name].write(tmp_path)
    (tmp_path / file).unlink()
    message = complaint(load, name)
    assert said in message
    assert str(tmp_path / file) in message


@pytest.mark.parametrize(
    ("name", "file", "line", "said"),
    [
        ("OxfordPets", "oxford_pets/annotations/test.txt", "Bengal_1 three 1 1", "do not fit each other"),
        ("OxfordPets", "oxford_pets/annotations/test.txt", "Bengal_1", "test.txt, line 1: 4 fields are expected"),
        ("FGVCAircraft", "fgvc_aircraft/images_variant_test.txt", "1300000 Yak-40", "'Yak-40' is not in"),
        ("SUN397", "sun397/Testing_01.txt", "/z/zoo/sun_a.jpg", "'/z/zoo' is not in"),
        ("UCF101", "ucf101/ucfTrainTestlist/testlist01.txt", "Surfing/v_Surfing_g01_c01.avi", "'Surfing' is not in"),
    ],
)
def test_lists_that_do_not_fit(name: str, file: str, line: str, said: str, load: Load, tmp_path: Path) -> None:
    MINIATURES[name].write(tmp_path)
    text(tmp_path / file, [line])
    assert said in complaint(load, name)


def test_damaged_matlab_file(load: Load, tmp_path: Path) -> None:
    miniatures.oxford_flowers(tmp_path)
    (tmp_path / "oxford_flowers" / "imagelabels.mat").write_bytes(b"nothing of the kind" * 20)
    assert "imagelabels.mat is damaged" in complaint(load, "OxfordFlowers")


def test_matlab_file_without_scipy(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    miniatures.oxford_flowers(tmp_path)
    import_module: Callable[..., object] = importlib.import_module

    def without_scipy(name: str, *args: object) -> object:
        if name == "scipy.io":
            raise ModuleNotFoundError("No module named 'scipy'")
        return import_module(name, *args)

    with monkeypatch.context() as patch:
        patch.setattr("importlib.import_module", without_scipy)
        message = complaint(load, "OxfordFlowers")
    assert "needs SciPy: pip install scipy, or put the published split file in place" in message
    load("OxfordFlowers")
    monkeypatch.setattr("importlib.import_module", without_scipy)
    load("OxfordFlowers")  # the split file is there now
