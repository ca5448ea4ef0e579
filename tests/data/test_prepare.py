"""``python -m caspl.data prepare``: from downloads and archives to CoOp's layout, also where it was killed between.

Only the network is replaced: torchvision's classes, which unpack and lay out what they download, are the real ones.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torchvision.datasets.utils import extract_archive

from caspl.data import PUBLISHED, fetch, read_split
from caspl.data.published import DRIVE, SPLIT_COPIES
from caspl.data.split import split_text
from tests.data.archives import pack
from tests.data.small import tree
from tests.data.world import World
from tests.datasets.miniatures import images, text
from tests.files.worker import working

Make = Callable[[str], World]
TORCHVISION = [name for name, published in PUBLISHED.items() if published.torchvision]


@pytest.mark.parametrize("name", TORCHVISION)
def test_from_torchvision(name: str, world: Make) -> None:
    made = world(name)
    assert made.prepare() == 0
    assert made.laid_out()
    # Nothing depends on what is left of the download.
    shutil.rmtree(made.root / ".downloads")
    assert made.laid_out()
    before = tree(made.root)
    made.asked.clear()
    assert made.prepare() == 0
    assert made.asked == []
    assert tree(made.root) == before


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name != "ImageNet"])
def test_from_the_mirror(name: str, world: Make) -> None:
    made = world(name)
    assert made.prepare("--source", "mirror") == 0
    # The zip holds the split file.
    assert [url for url in made.asked if not url.endswith(".zip")] == []
    shutil.rmtree(made.root / ".downloads")
    assert made.laid_out()


@pytest.mark.parametrize("name", [name for name in PUBLISHED if not PUBLISHED[name].torchvision and name != "ImageNet"])
def test_the_mirror_has_what_torchvision_has_not(name: str, world: Make, capsys: pytest.CaptureFixture[str]) -> None:
    made = world(name)
    assert made.prepare("--source", "torchvision") == 1
    assert "torchvision does not download it" in capsys.readouterr().out
    assert made.prepare() == 0
    assert made.laid_out()


@pytest.mark.parametrize("name", PUBLISHED)
def test_from_archives(name: str, world: Make) -> None:
    made = world(name)
    archives = [path for path in made.archives if path.suffix != ".mat"]
    before = tree(archives[0].parent)
    assert made.prepare("--from", *archives) == 0
    assert not [url for url in made.asked if not url.endswith(".json")]
    assert tree(archives[0].parent) == before
    if name != "ImageNet":  # whose images get other names, see below
        assert made.laid_out()


def sorted_right(val: Path) -> bool:
    """Whether every validation image lies in the folder of its class, which it tells in its last bytes."""
    paths = [*val.rglob("*.JPEG")]
    assert sorted(path.name for path in paths) == [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 13)]
    return all(path.read_bytes().endswith(path.parent.name.encode()) for path in paths)


def test_imagenet_archives_in_their_place(world: Make, capsys: pytest.CaptureFixture[str]) -> None:
    made = world("ImageNet")
    assert made.prepare() == 1
    assert "get ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar and ILSVRC2012_devkit" in capsys.readouterr().out
    place = made.here / "images"
    place.mkdir(parents=True)
    for archive in made.archives:
        shutil.move(archive, place)
    assert made.prepare() == 0
    assert sorted_right(place / "val")
    assert sorted(path.name for path in place.iterdir()) == sorted(
        ["train", "val", *(path.name for path in made.archives)]
    )


def test_one_part_of_imagenet(world: Make) -> None:
    made = world("ImageNet")
    shutil.copytree(made.data / "images" / "train", made.here / "images" / "train")
    assert made.prepare("--from", *made.archives[1:]) == 0
    assert sorted_right(made.here / "images" / "val")


def unsorted_imagenet(made: World) -> Path:
    shutil.copytree(made.data / "images" / "train", made.here / "images" / "train")
    val = made.here / "images" / "val"
    extract_archive(str(made.archives[1]), str(val))
    return val


def test_unsorted_imagenet(world: Make, capsys: pytest.CaptureFixture[str]) -> None:
    made = world("ImageNet")
    val = unsorted_imagenet(made)
    assert made.prepare() == 1
    assert f"the images in {val} are not sorted into class folders: put ILSVRC2012_dev" in capsys.readouterr().out
    # As if killed: one is in its place.
    (val / "n01440764").mkdir()
    (val / "ILSVRC2012_val_00000001.JPEG").rename(val / "n01440764" / "ILSVRC2012_val_00000001.JPEG")
    assert made.prepare("--from", made.archives[2]) == 0
    assert sorted_right(val)


def test_nothing_is_moved_outside_the_root(world: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = world("ImageNet")
    val = unsorted_imagenet(made)
    (made.here / "images").rename(tmp_path / "mine")
    before = tree(tmp_path / "mine")
    assert made.prepare("--from", tmp_path / "mine", made.archives[2]) == 1
    assert f"the images in {val} are not sorted" in capsys.readouterr().out
    assert tree(tmp_path / "mine") == before


def test_foreign_images_in_imagenets_val(world: Make, capsys: pytest.CaptureFixture[str]) -> None:
    made = world("ImageNet")
    val = unsorted_imagenet(made)
    images(val, ["mine.jpg"])
    assert made.prepare("--from", made.archives[2]) == 1
    assert "mine.jpg is not called like one of them" in capsys.readouterr().out
    assert len([*val.iterdir()]) == 13


def test_sorting_overwrites_nothing(world: Make, capsys: pytest.CaptureFixture[str]) -> None:
    made = world("ImageNet")
    val = unsorted_imagenet(made)
    last = max(val.iterdir())
    wnids = sorted(path.name for path in (made.data / "images" / "val").iterdir())
    for wnid in wnids:
        images(val, [f"{wnid}/{last.name}"])
    before = tree(val)
    assert made.prepare("--from", made.archives[2]) == 1
    assert f"{last} belongs to {val}" in capsys.readouterr().out
    assert tree(val) == before


class Killed(BaseException):
    """What a test kills the command with."""


def kill_at(monkeypatch: pytest.MonkeyPatch, function: str, call: int) -> None:
    """Kill the command in the given call of a function, once."""
    module, _, name = function.rpartition(".")
    original = getattr(importlib.import_module(module), name)
    calls = iter(range(1, 1000))

    def dying(*arguments: Any, **options: Any) -> Any:
        if next(calls) == call:
            raise Killed
        return original(*arguments, **options)

    monkeypatch.setattr(function, dying)


@pytest.mark.parametrize(
    ("name", "call"), [("EuroSAT", 1), ("OxfordPets", 1), ("OxfordPets", 2), ("FGVCAircraft", 1), ("FGVCAircraft", 4)]
)
def test_killed_while_moving(name: str, call: int, world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = world(name)
    kill_at(monkeypatch, "os.rename", call)
    with pytest.raises(Killed):
        made.prepare()
    made.asked.clear()
    assert made.prepare() == 0
    assert made.laid_out()
    assert not [url for url in made.asked if not url.endswith(".json")]


@pytest.mark.parametrize("name", TORCHVISION)
def test_killed_while_unpacking(name: str, world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = world(name)

    def half(archive: str, folder: str, *_: object, **__: object) -> None:
        # The folders are there, and one image; torchvision takes that for all.
        shutil.copytree(made.data, Path(folder, "half"))
        for home in ("", "caltech101", "oxford-iiit-pet", "flowers-102", "fgvc-aircraft-2013b", "dtd", "eurosat/2750"):
            images(Path(folder, home, made.published.images or "images"), ["AnnualCrop/one.jpg"])
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("torchvision.datasets.utils.extract_archive", half)
        patch.setattr("torchvision.datasets.caltech.extract_archive", half)
        with pytest.raises(Killed):
            made.prepare()
    assert not made.here.exists()
    downloaded = list(made.asked)
    assert made.prepare() == 0
    assert made.laid_out()
    assert not [*made.root.rglob("one.jpg")]
    # What had been downloaded is used.
    assert len(set(made.asked)) == len(made.asked)
    assert made.asked[: len(downloaded)] == downloaded


def test_killed_while_unpacking_imagenet(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = world("ImageNet")
    kill_at(monkeypatch, "torchvision.datasets.imagenet.extract_archive", 4)
    with pytest.raises(Killed):
        made.prepare("--from", *made.archives)
    assert made.prepare("--from", *made.archives) == 0
    assert sorted_right(made.here / "images" / "val")


def test_killed_before_the_split(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = world("EuroSAT")
    with monkeypatch.context() as patch:
        kill_at(patch, "caspl.data.fetch.download_file", 1)
        with pytest.raises(Killed):
            made.prepare()
    made.asked.clear()
    assert made.prepare() == 0
    assert made.asked == [SPLIT_COPIES + made.published.split_file]


def test_an_incomplete_archive(world: Make, capsys: pytest.CaptureFixture[str]) -> None:
    # The one that torchvision knows no digest of.
    made = world("FGVCAircraft")
    whole = made.archives[0].read_bytes()
    made.archives[0].write_bytes(whole[: len(whole) // 2])
    # Another archive there is not the command's.
    mine = pack(made.root / ".downloads" / "fgvc_aircraft" / "mine.zip", {"a": made.data / "variants.txt"})
    assert made.prepare() == 1
    kept = mine.with_name(made.archives[0].name)
    assert f"{kept} is incomplete" in capsys.readouterr().out
    assert mine.is_file()
    assert not kept.exists()
    # Nor is a broken one that was there before.
    shutil.copy(made.archives[0], kept)
    assert made.prepare() == 1
    assert "remove it and run the command again" in capsys.readouterr().out
    assert kept.is_file()
    kept.unlink()
    made.archives[0].write_bytes(whole)
    assert made.prepare() == 0
    assert made.laid_out()


def test_an_incomplete_archive_of_the_users_stays(world: Make, capsys: pytest.CaptureFixture[str]) -> None:
    made = world("ImageNetA")
    made.archives[0].write_bytes(made.archives[0].read_bytes()[:3000])
    # Another one, which has nothing to do with it.
    other = made.root / ".downloads" / "imagenet_a" / "other.zip"
    other.parent.mkdir(parents=True)
    other.touch()
    assert made.prepare("--from", made.archives[0]) == 1
    assert f"{made.archives[0]} is incomplete" in capsys.readouterr().out
    assert made.archives[0].stat().st_size == 3000
    assert other.is_file()


def test_imagenet_archives_in_the_download_folder_stay(world: Make) -> None:
    made = world("ImageNet")
    staging = made.root / ".downloads" / "imagenet"
    staging.mkdir(parents=True)
    mine = [Path(shutil.move(archive, staging)) for archive in made.archives]
    assert made.prepare("--from", *mine) == 0
    assert sorted_right(made.here / "images" / "val")
    assert all(path.is_file() for path in mine)


@pytest.mark.parametrize(("name", "link"), [("../esc.txt", ""), ("2750/esc.txt", "/etc/passwd")])
def test_a_hostile_tar(
    name: str,
    link: str,
    world: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # As an older torchvision, which unpacks whatever there is.
    def extract(archive: str, folder: str) -> None:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="fully_trusted")

    monkeypatch.setattr("torchvision.datasets.utils.extract_archive", extract)
    made = world("EuroSAT")
    member = tarfile.TarInfo(name)
    member.type, member.linkname = (tarfile.SYMTYPE, link) if link else (tarfile.REGTYPE, "")
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        tar.addfile(member)
    assert made.prepare("--from", tmp_path / "bad.tar") == 1
    assert f"{tmp_path / 'bad.tar'} is not unpacked, since it would write outside" in capsys.readouterr().out
    assert not [path for path in tmp_path.rglob("esc.txt") if os.path.lexists(path)]
    monkeypatch.delattr(tarfile, "data_filter")
    assert made.prepare("--from", tmp_path / "bad.tar") == 1
    assert "cannot unpack" in capsys.readouterr().out


def test_libraries_that_extract_without_a_filter_get_one(tmp_path: Path) -> None:
    before = tarfile.TarFile.extraction_filter
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../esc.txt"))
    with fetch.filtered(), tarfile.open(tmp_path / "bad.tar") as tar, pytest.raises(tarfile.FilterError):
        tar.extractall(tmp_path / "folder")
    assert not (tmp_path / "esc.txt").exists()
    assert tarfile.TarFile.extraction_filter is before


def test_a_hostile_zip(world: Make, tmp_path: Path) -> None:
    made = world("EuroSAT")
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        for name in ("../../esc.txt", f"{tmp_path}/esc.txt"):
            file.writestr(name, "")
    assert made.prepare("--from", tmp_path / "bad.zip") == 1
    inside = made.root / ".downloads" / "eurosat" / "unpacked"
    found = [*tmp_path.rglob("esc.txt")]
    assert found
    assert all(path.is_relative_to(inside) for path in found)


def test_suffixes_of_archives(world: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = world("EuroSAT")
    rar = tmp_path / "EuroSAT.rar"
    rar.touch()
    assert made.prepare("--from", rar) == 1
    assert f"{rar} is no archive of a known kind: give one that ends in .zip, .tar" in capsys.readouterr().out
    upper = made.archives[0].rename(tmp_path / "EuroSAT.ZIP")
    assert made.prepare("--from", upper) == 0
    assert made.laid_out()


def test_two_runs_at_once(world: Make, capsys: pytest.CaptureFixture[str]) -> None:
    made = world("EuroSAT")
    with fetch.alone(made.published, made.root):
        assert made.prepare() == 1
    (sentence,) = [line for line in capsys.readouterr().out.splitlines() if "claimed" in line]
    place = made.root / ".downloads" / "eurosat"
    assert sentence.startswith(f"EuroSAT: {place} is claimed by process {os.getpid()} on")
    assert " (preparing EuroSAT): wait until that has ended" in sentence
    assert not made.here.joinpath("2750").exists()
    assert made.prepare() == 0


def test_a_killed_run_is_not_in_the_way(world: Make) -> None:
    made = world("EuroSAT")
    with working() as worker:
        assert worker.ask("take", fetch.staging_folder(made.published, made.root)) == "done"
        assert made.prepare() == 1
        worker.kill()
    assert made.prepare() == 0
    assert made.laid_out()
    assert not [*made.root.rglob("*.claim*")]


def test_an_archive_of_something_else(world: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = world("EuroSAT")
    images(tmp_path / "other", ["a/b.jpg"])
    assert made.prepare("--from", pack(tmp_path / "other.zip", {"other": tmp_path / "other"})) == 1
    assert f"holds nothing for {made.here / '2750'}" in capsys.readouterr().out
    assert made.prepare("--from", made.archives[0]) == 0


def test_no_space(world: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = world("EuroSAT")
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 1, 1))  # type: ignore[attr-defined]
    object.__setattr__(made.published, "gigabytes", 0.1)
    assert made.prepare() == 1
    assert "about 0.2 GB are needed in" in capsys.readouterr().out
    assert not [url for url in made.asked if not url.endswith(".json")]


def test_a_full_disk(world: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = world("EuroSAT")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "2750/River")

    with monkeypatch.context() as patch:
        patch.setattr("torchvision.datasets.utils.extract_archive", full)
        assert made.prepare() == 1
    assert "No space left on device" in capsys.readouterr().out
    assert made.prepare() == 0


def test_a_data_root_that_cannot_be_written(
    world: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = world("EuroSAT")

    mkdir = os.mkdir

    def refuse(path: Any, *arguments: Any) -> None:
        if Path(path).is_relative_to(made.root):
            raise PermissionError(13, "Permission denied", str(path))
        mkdir(path, *arguments)

    made.root.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("os.mkdir", refuse)
        assert made.prepare("--split", made.data) == 1
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2
        assert all(line.startswith("EuroSAT: ") and "Permission denied" in line for line in lines)
        assert all(str(made.root) in line for line in lines)
    assert made.prepare() == 0
    # What is complete needs no writing.
    monkeypatch.setattr("os.mkdir", refuse)
    assert made.prepare() == 0


@pytest.mark.parametrize("folder", ["", "eurosat"])
def test_a_split_that_the_user_has(folder: str, world: Make, tmp_path: Path) -> None:
    made = world("EuroSAT")
    path = tmp_path / "splits" / folder / made.published.split_file
    path.parent.mkdir(parents=True)
    shutil.copy(made.data / made.published.split_file, path)
    assert made.prepare("--split", tmp_path / "splits") == 0
    assert not [url for url in made.asked if url.endswith(".json")]
    assert (made.here / path.name).read_bytes() == path.read_bytes()
    (made.here / path.name).unlink()
    assert made.prepare("--split", path) == 0


def test_a_split_of_something_else(world: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = world("EuroSAT")
    path, name = tmp_path / "split.json", made.published.split_file
    text(path, ['{"train": [["a.jpg", 0, "a"]], "val": [], "test": [["b.jpg", 0, "a"]]}'])
    assert made.prepare("--split", path) == 1
    said = capsys.readouterr().out
    assert f"{path} is not the published split (there are 1 classes instead of 10; " in said
    assert "name another, or leave --split out to fetch it" in said
    # The same counts, and another order.
    path.write_text(split_text(replace(split := read_split(made.data / name), train=split.train[::-1])))
    assert made.prepare("--split", path) == 1
    said = capsys.readouterr().out
    assert f"EuroSAT: {path} is not the published split: name another, or leave --split out to fetch it\n" in said
    assert "delete" not in said
    assert made.prepare("--split", tmp_path) == 1
    assert f"there is no {made.published.split_file} in {tmp_path}" in capsys.readouterr().out
    assert not (made.here / made.published.split_file).exists()


def test_where_split_files_come_from(
    world: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = world("EuroSAT")
    name = made.published.split_file
    original = made._download_url

    def download(url: str, root: str, filename: str, *_: object, **__: object) -> None:
        if url.startswith(SPLIT_COPIES):
            text(Path(root, filename), ["<html>404</html>"])
        elif url.startswith(DRIVE):
            raise RuntimeError("To download files from GDrive, 'gdown' is required. pip install gdown")
        else:
            original(url, root, filename)

    with monkeypatch.context() as patch:
        patch.setattr("torchvision.datasets.utils.download_url", download)
        assert made.prepare() == 1
    said = capsys.readouterr().out
    for part in (SPLIT_COPIES + name, DRIVE + made.published.split_id, "gdown", "--split FILE"):
        assert part in said
    assert not (made.here / name).exists()
    assert made.prepare() == 0


@pytest.mark.parametrize(
    ("package", "name", "options"),
    [("huggingface_hub", "EuroSAT", ["--source", "mirror"]), ("scipy", "OxfordFlowers", [])],
)
def test_a_package_is_missing(
    package: str,
    name: str,
    options: list[str],
    world: Make,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = world(name)
    with monkeypatch.context() as patch:
        for module in (package, f"{package}.io"):
            patch.setitem(sys.modules, module, None)
        assert made.prepare(*options) == 1
    assert f"needs {package}: pip install {package}" in capsys.readouterr().out
    assert made.prepare(*options) == 0


def test_the_network_is_down(world: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = world("EuroSAT")
    for name in ("torchvision.datasets.utils.download_url", "huggingface_hub.list_repo_files"):
        monkeypatch.setattr(name, lambda *_, **__: (_ for _ in ()).throw(OSError("unreachable")))
    for source in ("auto", "mirror"):
        assert made.prepare("--source", source) == 1
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2
        assert "unreachable" in lines[0]
        assert "get EuroSAT.zip (the RGB version) from https://github.com/phelber/EuroSAT" in lines[0]
        assert ("try --source mirror" in lines[0]) == (source == "auto")


def test_class_names_are_written(world: Make) -> None:
    made = world("ImageNetSketch")
    assert made.prepare("--from", made.archives[0]) == 0
    assert (made.here / "classnames.txt").read_bytes() == (made.data / "classnames.txt").read_bytes()


def test_a_data_set_on_another_disk(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = world("EuroSAT")
    rename = os.rename

    def across(source: Any, target: Any) -> None:
        if ".downloads" in str(source) and ".downloads" not in str(target):
            raise OSError(18, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr("os.rename", across)
    assert made.prepare() == 0
    assert made.laid_out()
    assert not [path for path in made.here.iterdir() if path.name.endswith(".partial")]
