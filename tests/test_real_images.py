"""Folders of pictures that are not ours: how they are made, and, in the slow tier, the whole job on them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from caspl.errors import CasPLError
from caspl.results import read_record
from caspl.tiny.vocabulary import compact, known_ids
from scripts import real_images

REPO = Path(__file__).parents[1]
RED, CLEAR = (255, 0, 0, 255), (0, 0, 0, 0)


def png(mode: str) -> bytes:
    """A picture of 64 x 64: opaque red on the left, nothing on the right; in "LA" opaque black instead of red."""
    picture = Image.new("RGBA", (64, 64), CLEAR)
    picture.paste((0, 0, 0, 255) if mode == "LA" else RED, (0, 0, 32, 64))
    file = io.BytesIO()
    (picture.quantize(4) if mode == "P" else picture.convert(mode)).save(file, "PNG")
    return file.getvalue()


def entry(subcategory: str, image: str, **more: Any) -> dict[str, Any]:
    return {"subcategory": subcategory, "image": image, "has_img_twitter": True, "has_img_google": True, **more}


def npm_package(path: Path, vendor: str) -> Path:
    """A package in npm's form: two classes to take, two of near-duplicates, one that is too small, skin tones."""
    sizes = {"animal-mammal": 16, "sky & weather": 17, "country-flag": 20, "family": 20, "plant-flower": 15}
    entries = [entry(name, f"{name[0]}{number}.png") for name, size in sizes.items() for number in range(size)]
    entries[0]["skin_variations"] = {"1F3FB": {"image": "a0-1f3fb.png", f"has_img_{vendor}": True}}
    entries.append(entry("plant-flower", "nowhere.png", has_img_twitter=False, has_img_google=False))
    images = [item["image"] for item in entries[:-1]] + ["a0-1f3fb.png"]
    modes = {"a1.png": "LA", "a2.png": "P"}
    content = {f"package/img/{vendor}/64/{name}": png(modes.get(name, "RGBA")) for name in images}
    content |= {"package/emoji.json": json.dumps(entries).encode(), f"package/img/{vendor}/sheets/64.png": png("RGBA")}
    with tarfile.open(path, "w:gz") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("vendor", ["twitter", "google"])
def test_emoji(tmp_path: Path, vendor: str) -> None:
    archive = npm_package(tmp_path / "package.tgz", vendor)
    folder = real_images.write_folder(tmp_path / "emoji", real_images.emoji(archive, vendor))
    taken = [f"animal mammal/a{number}.png" for number in range(16)]
    taken += [f"sky & weather/s{number}.png" for number in range(17)]
    assert tree(folder) == sorted([*taken, "names.json"])
    for name in ("a0", "a1", "a2"):
        with Image.open(folder / "animal mammal" / f"{name}.png") as picture:
            assert (picture.mode, picture.size) == ("RGB", (64, 64))
            assert picture.getpixel((10, 10)) == ((0, 0, 0) if name == "a1" else RED[:3])
            assert picture.getpixel((50, 10)) == (255, 255, 255)


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    picture = real_images.on_white(Image.new("RGBA", (1, 1), (255, 0, 0, 51)))
    assert picture.getpixel((0, 0)) == (255, 204, 204)


def test_digits() -> None:
    found = list(real_images.digits())
    sizes = Counter(path.split("/")[0] for path, _ in found)
    assert sizes.total() == len({path for path, _ in found}) == 1797
    assert sizes.keys() == set(real_images.DIGITS)
    assert {(picture.mode, picture.size) for _, picture in found} == {("RGB", (32, 32))}
    # The first three are 0, 1, 2 in scikit-learn's description. A zero is empty inside, a one is not.
    assert [path.split("/")[0] for path, _ in found[:3]] == ["zero", "one", "two"]
    zero, one = (np.asarray(found[number][1]) for number in (0, 1))
    assert zero[14:18, 14:18].max() < 64
    assert one[14:18, 14:18].min() > 192


def test_stand_in_names_are_words_that_the_tiny_models_know() -> None:
    classes = [f"class {number}" for number in range(39)]
    names = real_images.stand_in_names(reversed(classes))
    assert list(names) == sorted(classes)
    assert len(set(names.values())) == 39
    compact([f"a photo of a {name}." for name in names.values()], known_ids())  # raises at a strange word
    assert real_images.stand_in_names(classes) == names


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken() -> real_images.Pictures:
        yield "a/1.png", Image.new("RGB", (4, 4))
        raise OSError("cut off")

    with pytest.raises(CasPLError, match="cannot write .*emoji: cut off"):
        real_images.write_folder(tmp_path / "emoji", broken())
    assert not list(tmp_path.iterdir())
    real_images.write_folder(tmp_path / "emoji", [("a/1.png", Image.new("RGB", (4, 4)))])
    real_images.write_folder(tmp_path / "emoji", broken())
    assert tree(tmp_path) == ["emoji/a/1.png", "emoji/names.json"]


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twitter's package, and an ``npm`` that packs it."""
    archive = npm_package(tmp_path / f"emoji-datasource-twitter-{real_images.VERSION}.tgz", "twitter")
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f'#!/bin/sh\n[ "$1 $3" = "pack --pack-destination" ] && cp "{archive}" "$4"\n')
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(npm.parent), prepend=os.pathsep)
    monkeypatch.setitem(real_images.SHA256, "twitter", hashlib.sha256(archive.read_bytes()).hexdigest())
    return archive


def test_npm_gets_packages_once(published: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "emoji"
    assert real_images.main(["emoji", str(folder)]) == 0
    assert (folder.parent / published.name).read_bytes() == published.read_bytes()
    assert len(tree(folder)) == 34
    published.unlink()
    assert real_images.main(["emoji", str(tmp_path / "again"), "--archives", str(folder.parent)]) == 0
    assert tree(tmp_path / "again") == tree(folder)


def test_wrong_packages_are_refused(published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["emoji", str(tmp_path / "data" / "emoji")]
    right = published.read_bytes()
    published.write_bytes(right[:-1])
    assert real_images.main(arguments) == 2
    assert "is not the published package" in capsys.readouterr().err
    published.unlink()
    (tmp_path / "data" / published.name).unlink()
    assert real_images.main(arguments) == 2
    assert f"run `npm pack emoji-datasource-twitter@{real_images.VERSION}`" in capsys.readouterr().err
    assert tree(tmp_path / "data") == []


def run(tmp_path: Path, source: str, *options: str) -> Path:
    """The driver with few epochs of phase 1; returns the folder of its runs."""
    environment = os.environ | {"DATA": str(tmp_path / "data"), "OUTPUT": str(tmp_path / "output")}
    environment |= {"PYTHON": sys.executable, "PYTHONPATH": str(REPO), "BOOST_OPTIONS": "OPTIM.MAX_EPOCH 2"}
    command = ["bash", str(REPO / "scripts/real_images.sh"), source, "1", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CasPL_PromptSRC - PromptSRC" in done.stdout
    return tmp_path / "output" / source


def measured(folder: Path) -> dict[tuple[str, str], tuple[float, int]]:
    """By trainer and classes: the accuracy and the number of test images."""
    records = [read_record(path) for path in folder.rglob("result.json")]
    return {(x.trainer, x.classes): (x.metrics["accuracy"], x.test_images) for x in records}


TRAINERS = ("ZeroshotCLIP", "CasPL_ZeroshotCLIP", "PromptSRC", "CasPL_PromptSRC")
RUNS = {(trainer, classes) for trainer in TRAINERS for classes in ("base", "new")}


@pytest.mark.slow
def test_digits_end_to_end(tmp_path: Path) -> None:
    found = measured(run(tmp_path, "digits") / "base2new")
    assert found.keys() == RUNS
    listed = json.loads(next((tmp_path / "data/real_images/digits").glob("split_caspl_*.json")).read_text())
    for trainer in TRAINERS:
        assert found[trainer, "base"][1] + found[trainer, "new"][1] == len(listed["test"])
    # The names say nothing about the digits, so that what is known of the base classes was learned here. (Two epochs of
    # phase 1 are too few to show the same for the cascade.)
    assert found["PromptSRC", "base"][0] > found["ZeroshotCLIP", "base"][0] + 8


@pytest.mark.slow
@pytest.mark.skipif("EMOJI_ARCHIVES" not in os.environ, reason="EMOJI_ARCHIVES names no folder of the npm packages")
def test_emoji_end_to_end(tmp_path: Path) -> None:
    output = run(tmp_path, "emoji", "OPTIM.MAX_EPOCH", "2")
    own, shifted = measured(output / "base2new"), measured(output / "google")
    assert own.keys() == shifted.keys() == RUNS
    data = tmp_path / "data/real_images"
    for folder in (data / "emoji_twitter", data / "emoji_google"):
        sizes = Counter(path.split("/")[0] for path in tree(folder) if path.endswith(".png"))
        assert (len(sizes), sizes.total(), min(sizes.values())) == (39, 1145, 16)
    # Other pictures of the very same emoji.
    assert {key: images for key, (_, images) in own.items()} == {key: images for key, (_, images) in shifted.items()}
    splits = [next(folder.glob("split_caspl_*.json")).read_text() for folder in sorted(data.glob("emoji_*"))]
    assert splits[0] == splits[1]
