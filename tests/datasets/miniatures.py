"""Every data set in small: a few classes in the exact form that its archives have on disk, quirks included."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from tests.datasets.digits import write_eurosat_digits

PER_CLASS = 10


@dataclass(frozen=True)
class Miniature:
    """How to write it, the class names it should have, in order, and the images a class in train, val and test."""

    write: Callable[[Path], object]
    names: tuple[str, ...]
    per_class: tuple[int, int, int]


RULE_A = (5, 2, 3)
RULE_B = (8, 2, 3)
TEST_ONLY = (PER_CLASS, 0, PER_CLASS)


@cache
def jpeg(number: int = 0) -> bytes:
    """A picture of its own for each number."""
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def images(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(crc32(os.fsencode(path.relative_to(folder)))))


def numbered(*folders: str, count: int = PER_CLASS, suffix: str = ".jpg") -> list[str]:
    return [f"{folder}/image_{number:04d}{suffix}" for folder in folders for number in range(1, count + 1)]


def text(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def matlab(path: Path, **content: object) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy_io.savemat(path, content)


def caltech101(root: Path) -> None:
    folders = ("BACKGROUND_Google", "Faces", "Faces_easy", "Leopards", "accordion", "airplanes", "yin_yang")
    images(root / "caltech-101" / "101_ObjectCategories", numbered(*folders))


def dtd(root: Path) -> None:
    images(root / "dtd" / "images", numbered("banded", "polka-dotted", "zigzagged"))
    text(root / "dtd" / "labels" / "train1.txt", ["banded/image_0001.jpg"])


def food101(root: Path) -> None:
    images(root / "food-101" / "images", numbered("apple_pie", "baby_back_ribs", "waffles"))
    text(root / "food-101" / "images" / ".DS_Store", [])


def oxford_pets(root: Path) -> None:
    folder = root / "oxford_pets"
    breeds = {"Abyssinian": 1, "american_pit_bull_terrier": 2, "Bengal": 3}
    for file, numbers in (("trainval.txt", range(100, 110)), ("test.txt", range(3))):
        lines = [f"{breed}_{number} {label} 1 1" for breed, label in breeds.items() for number in numbers]
        text(folder / "annotations" / file, lines)
        images(folder / "images", [f"{line.split()[0]}.jpg" for line in lines])
    images(folder / "images", ["Abyssinian_34.jpg"])  # in no list


def stanford_cars(root: Path) -> None:
    folder = root / "stanford_cars"
    names = ["Audi TTS Coupe 2012", "Ram C/V Cargo Van Minivan 2012", "smart fortwo Convertible 2012"]
    matlab(folder / "devkit" / "cars_meta.mat", class_names=np.array([names], dtype=object))
    for part, path, per_class in (
        ("cars_train", "devkit/cars_train_annos.mat", 10),
        ("cars_test", "cars_test_annos_withlabels.mat", 3),
    ):
        # Classes take turns, as in the original the files are not grouped.
        files = [(f"{number + 1:05d}.jpg", number % 3 + 1) for number in range(3 * per_class)]
        records = np.zeros((1, len(files)), dtype=[("bbox_x1", object), ("class", object), ("fname", object)])
        records["fname"][0], records["class"][0] = [file for file, _ in files], [label for _, label in files]
        matlab(folder / path, annotations=records)
        images(folder / part, [file for file, _ in files])


def oxford_flowers(root: Path) -> None:
    folder = root / "oxford_flowers"
    labels = [label for label in (3, 1, 2) for _ in range(PER_CLASS)]
    matlab(folder / "imagelabels.mat", labels=np.array([labels], dtype=np.uint8))
    images(folder / "jpg", [f"image_{number:05d}.jpg" for number in range(1, len(labels) + 1)])
    names = {"21": "fire lily", "1": "pink primrose", "3": "canterbury bells", "2": "hard-leaved pocket orchid"}
    (folder / "cat_to_name.json").write_text(json.dumps(names))


def fgvc_aircraft(root: Path) -> None:
    folder = root / "fgvc_aircraft"
    variants = ("707-320", "Cessna 172", "F-16A/B")
    text(folder / "variants.txt", variants)
    for part, count in (("train", 5), ("val", 2), ("test", 3)):
        lines = [f"{number}{count}{label:05d} {name}" for number in range(count) for label, name in enumerate(variants)]
        text(folder / f"images_variant_{part}.txt", lines)
        images(folder / "images", [f"{line.split()[0]}.jpg" for line in lines])


def sun397(root: Path) -> None:
    folder = root / "sun397"
    scenes = ("/a/abbey", "/a/apartment_building/outdoor", "/w/wine_cellar/barrel_storage")
    text(folder / "ClassName.txt", scenes)
    for part, count in (("Training_01.txt", 10), ("Testing_01.txt", 3)):
        lines = [f"{scene}/sun_{part[1]}{number}.jpg" for scene in scenes for number in range(count)]
        text(folder / part, lines)
        images(folder / "SUN397", [line[1:] for line in lines])
    images(folder / "SUN397", ["a/abbey/sun_unused.jpg"])


def ucf101(root: Path) -> None:
    folder = root / "ucf101"
    actions = {"ApplyEyeMakeup": "ApplyEyeMakeup", "HandstandPushups": "HandStandPushups", "YoYo": "YoYo"}
    text(folder / "ucfTrainTestlist" / "classInd.txt", [f"{k} {action}" for k, action in enumerate(actions, start=1)])
    frames = {"ApplyEyeMakeup": "Apply_Eye_Makeup", "HandstandPushups": "Handstand_Pushups", "YoYo": "Yo_Yo"}
    for part, groups in (("trainlist01.txt", range(8, 18)), ("testlist01.txt", range(1, 4))):
        videos = [
            (label, action, f"v_{spelled}_g{group:02d}_c01")
            for label, (action, spelled) in enumerate(actions.items(), start=1)
            for group in groups
        ]
        number = " {}" if part == "trainlist01.txt" else ""
        text(
            folder / "ucfTrainTestlist" / part,
            [f"{action}/{video}.avi{number.format(label)}" for label, action, video in videos],
        )
        images(folder / "UCF-101-midframes", [f"{frames[action]}/{video}.jpg" for _, action, video in videos])


WNIDS = {"n01440764": "tench", "n01443537": "goldfish", "n01484850": "great white shark", "n04356056": "sunglasses"}


def classnames(folder: Path, extra: dict[str, str] | None = None) -> None:
    text(folder / "classnames.txt", [f"{wnid} {name}" for wnid, name in {**WNIDS, **(extra or {})}.items()])


def imagenet(root: Path) -> None:
    folder = root / "imagenet"
    classnames(folder)
    for part, count in (("train", 10), ("val", 3)):
        images(folder / "images" / part, numbered(*WNIDS, count=count, suffix=".JPEG"))
        text(folder / "images" / part / "README.txt", ["no class"])


def imagenetv2(root: Path) -> None:
    # More than ten folders: in text order 10 and 11 would come before 2.
    folder = root / "imagenetv2"
    classnames(folder, {f"n1000000{label}": f"thing {label}" for label in range(4, 12)})
    labels = [str(label) for label in range(12)]
    images(folder / "imagenetv2-matched-frequency-format-val", numbered(*labels, suffix=".jpeg"))


def imagenet_sketch(root: Path) -> None:
    classnames(root / "imagenet-sketch")
    images(root / "imagenet-sketch" / "images", numbered(*WNIDS, suffix=".JPEG"))


def subset(dataset: str, folder: str) -> Callable[[Path], None]:
    """ImageNet-A and -R: some of the classes, and a README among the folders."""

    def write(root: Path) -> None:
        classnames(root / dataset)
        images(root / dataset / folder, numbered("n04356056", "n01443537"))
        text(root / dataset / folder / "README.txt", ["no class"])

    return write


EUROSAT = (
    "Annual Crop Land", "Forest", "Herbaceous Vegetation Land", "Highway or Road", "Industrial Buildings",
    "Pasture Land", "Permanent Crop Land", "Residential Buildings", "River", "Sea or Lake",
)  # fmt: skip
CARS = ("2012 Audi TTS Coupe", "2012 Ram C/V Cargo Van Minivan", "2012 smart fortwo Convertible")
FLOWERS = ("pink primrose", "hard-leaved pocket orchid", "canterbury bells")
SCENES = ("abbey", "outdoor apartment_building", "barrel_storage wine_cellar")
THINGS = tuple(f"thing {label}" for label in range(4, 12))

MINIATURES = {
    "Caltech101": Miniature(caltech101, ("face", "leopard", "accordion", "airplane", "yin_yang"), RULE_A),
    "DescribableTextures": Miniature(dtd, ("banded", "polka-dotted", "zigzagged"), RULE_A),
    "EuroSAT": Miniature(lambda root: write_eurosat_digits(root, PER_CLASS), EUROSAT, RULE_A),
    "Food101": Miniature(food101, ("apple_pie", "baby_back_ribs", "waffles"), RULE_A),
    "OxfordFlowers": Miniature(oxford_flowers, FLOWERS, RULE_A),
    "OxfordPets": Miniature(oxford_pets, ("abyssinian", "american_pit_bull_terrier", "bengal"), RULE_B),
    "StanfordCars": Miniature(stanford_cars, CARS, RULE_B),
    "SUN397": Miniature(sun397, SCENES, RULE_B),
    "UCF101": Miniature(ucf101, ("Apply_Eye_Makeup", "Handstand_Pushups", "Yo_Yo"), RULE_B),
    "FGVCAircraft": Miniature(fgvc_aircraft, ("707-320", "Cessna 172", "F-16A/B"), (5, 2, 3)),
    "ImageNet": Miniature(imagenet, tuple(WNIDS.values()), (10, 3, 3)),
    "ImageNetV2": Miniature(imagenetv2, (*WNIDS.values(), *THINGS), TEST_ONLY),
    "ImageNetSketch": Miniature(imagenet_sketch, tuple(WNIDS.values()), TEST_ONLY),
    "ImageNetA": Miniature(subset("imagenet-adversarial", "imagenet-a"), ("goldfish", "sunglasses"), TEST_ONLY),
    "ImageNetR": Miniature(subset("imagenet-rendition", "imagenet-r"), ("goldfish", "sunglasses"), TEST_ONLY),
}
