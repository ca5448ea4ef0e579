"""The archives of the data sets in small, each with the names and folders of the original inside."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.miniatures import matlab, text

Content = Mapping[str, Path]
"""What an archive holds: names in it, and the files or folders on disk."""


def pack(archive: Path, content: Content) -> Path:
    """Write a .zip, .tar, .tar.gz or .tgz."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as file:
            for name, source in content.items():
                for path in [source, *source.rglob("*")]:
                    file.write(path, Path(name, path.relative_to(source)))
    else:
        with tarfile.open(archive, "w" if archive.suffix == ".tar" else "w:gz") as tar:
            for name, source in content.items():
                tar.add(source, name)
    return archive


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def caltech101(data: Path, out: Path) -> list[Path]:
    inner = pack(out / "inner/101_ObjectCategories.tar.gz", {"101_ObjectCategories": data / "101_ObjectCategories"})
    return [pack(out / "caltech-101.zip", {"caltech-101/101_ObjectCategories.tar.gz": inner})]


def oxford_pets(data: Path, out: Path) -> list[Path]:
    return [pack(out / f"{part}.tar.gz", {part: data / part}) for part in ("images", "annotations")]


def stanford_cars(data: Path, out: Path) -> list[Path]:
    return [pack(out / f"{part}.tgz", {part: data / part}) for part in ("cars_train", "cars_test")]


def oxford_flowers(data: Path, out: Path) -> list[Path]:
    matlab(out / "setid.mat", trnid=[1, 2], valid=[11, 12], tstid=[21, 22])
    labels = shutil.copy(data / "imagelabels.mat", out)
    return [pack(out / "102flowers.tgz", {"jpg": data / "jpg"}), Path(labels), out / "setid.mat"]


def food101(data: Path, out: Path) -> list[Path]:
    text(out / "inner/train.json", ['{"waffles": ["waffles/image_0001"]}'])
    content = {"food-101/images": data / "images", "food-101/meta/train.json": out / "inner/train.json"}
    return [pack(out / "food-101.tar.gz", content)]


def fgvc_aircraft(data: Path, out: Path) -> list[Path]:
    lists = {path.name: path for path in data.glob("*.txt")}
    # torchvision reads this one by default.
    lists["images_variant_trainval.txt"] = data / "images_variant_train.txt"
    content = {f"fgvc-aircraft-2013b/data/{name}": path for name, path in lists.items()}
    return [pack(out / "fgvc-aircraft-2013b.tar.gz", {"fgvc-aircraft-2013b/data/images": data / "images", **content})]


def sun397(data: Path, out: Path) -> list[Path]:
    content = {"SUN397": data / "SUN397", "SUN397/ClassName.txt": data / "ClassName.txt"}
    return [pack(out / "SUN397.tar.gz", content)]


def dtd(data: Path, out: Path) -> list[Path]:
    return [pack(out / "dtd-r1.0.1.tar.gz", {"dtd/images": data / "images", "dtd/labels": data / "labels"})]


def one_folder(archive: str, name: str, source: str = "") -> Callable[[Path, Path], list[Path]]:
    """An archive of the images alone, in a folder of this name."""
    return lambda data, out: [pack(out / archive, {name: data / (source or name)})]


ARCHIVES: dict[str, Callable[[Path, Path], list[Path]]] = {
    "Caltech101": caltech101,
    "OxfordPets": oxford_pets,
    "StanfordCars": stanford_cars,
    "OxfordFlowers": oxford_flowers,
    "Food101": food101,
    "FGVCAircraft": fgvc_aircraft,
    "SUN397": sun397,
    "DescribableTextures": dtd,
    "EuroSAT": one_folder("EuroSAT.zip", "2750"),
    "UCF101": one_folder("UCF-101-midframes.zip", "UCF-101-midframes"),
    "ImageNetV2": one_folder("imagenetv2-matched-frequency.tar.gz", "imagenetv2-matched-frequency-format-val"),
    "ImageNetSketch": one_folder("ImageNet-Sketch.zip", "sketch", "images"),
    "ImageNetA": one_folder("imagenet-a.tar", "imagenet-a"),
    "ImageNetR": one_folder("imagenet-r.tar", "imagenet-r"),
}


def imagenet(data: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The three archives: a tar of tars for training, a flat one for validation, and the kit, which sorts it."""
    wnids = sorted(path.name for path in (data / "images/train").iterdir() if path.is_dir())
    inner = {f"{wnid}.tar": pack(out / f"inner/{wnid}.tar", _flat(data / "images/train" / wnid)) for wnid in wnids}
    train = pack(out / "ILSVRC2012_img_train.tar", inner)
    for path in (data / "images").glob("*/*/*.JPEG"):
        path.write_bytes(path.read_bytes() + path.parent.name.encode())  # to know it again
    # Classes take turns.
    images = sorted((data / "images/val").glob("*/*.JPEG"), key=lambda path: (path.name, path.parent.name))
    flat = {f"ILSVRC2012_val_{number:08d}.JPEG": path for number, path in enumerate(images, start=1)}
    val = pack(out / "ILSVRC2012_img_val.tar", flat)
    synsets = np.zeros(len(wnids) + 1, dtype=[(name, object) for name in ("id", "wnid", "words", "gloss", "children")])
    # The last is a family of classes, which has children and no images.
    rows = [(number, wnid, f"{wnid}, thing", "", 0) for number, wnid in enumerate(wnids, start=1)]
    synsets[:] = [*rows, (len(wnids) + 1, "n00000001", "thing", "", len(wnids))]
    matlab(out / "inner/kit/data/meta.mat", synsets=synsets)
    truth = [str(wnids.index(path.parent.name) + 1) for path in images]
    text(out / "inner/kit/data/ILSVRC2012_validation_ground_truth.txt", truth)
    kit = pack(out / "ILSVRC2012_devkit_t12.tar.gz", {"ILSVRC2012_devkit_t12": out / "inner/kit"})
    digests = {"train": train, "val": val, "devkit": kit}
    known = {part: (path.name, md5(path)) for part, path in digests.items()}
    monkeypatch.setattr("torchvision.datasets.imagenet.ARCHIVE_META", known)
    return [train, val, kit]


def _flat(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in folder.iterdir()}
