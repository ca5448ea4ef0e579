"""``python -m caspl.data check``: on good, partial and broken trees."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from caspl.data import PUBLISHED, Published, read_split, write_split
from caspl.data.__main__ import main
from caspl.data.check import check
from caspl.data.decode import CHUNK, undecodable
from tests.data.small import Small, tree
from tests.datasets.miniatures import MINIATURES, images, numbered, text

Change = Callable[[Published, Path], object]


@pytest.mark.parametrize("name", MINIATURES)
def test_as_published(name: str, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published = small(name)
    before = tree(tmp_path)
    assert main(["check", published.stem, "--root", str(tmp_path), "--decode"]) == 0
    assert tree(tmp_path) == before
    said = capsys.readouterr().out
    assert said.startswith(f"{name}: as published, {len(MINIATURES[name].names)} classes, ")
    assert said.count("\n") == 1


def edit_split(edit: Callable[[dict[str, list[list[object]]]], object]) -> Change:
    def change(published: Published, folder: Path) -> None:
        path = folder / published.split_file
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))

    return change


def make_split(published: Published, folder: Path) -> None:
    path = folder / published.split_file
    write_split(path, replace(read_split(path), origin="made here; this is not the published split"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def finding_of(published: Published, root: Path, pattern: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes nothing, prints every finding, and one of them is this one."""
    before = tree(root)
    findings = check(published, root, decode=True)
    assert main(["check", published.name, "--root", str(root), "--decode"]) == 1
    assert tree(root) == before
    assert capsys.readouterr().out == "".join(f"{published.name}: {finding}\n" for finding in findings)
    assert len([finding for finding in findings if re.search(pattern, finding)]) == 1, findings


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda one, folder: shutil.rmtree(folder), r"no folder .*/eurosat/2750 .*prepare EuroSAT --root"),
        (lambda one, folder: shutil.rmtree(folder / "2750"), r"eurosat holds split_zhou_EuroSAT\.json\)"),
        (lambda one, folder: (folder / one.split_file).unlink(), "the split file .* is missing: .*prepare EuroSAT"),
        (lambda one, folder: (folder / one.split_file).write_text("<html>"), "cannot be read"),
        (lambda one, folder: (folder / "2750/River/River_3.jpg").unlink(), "^1 of 100 images .* missing.*River_3.jpg"),
        (lambda one, folder: shutil.rmtree(folder / "2750/River"), "^10 of 100 images .*River/River_1.jpg"),
        (lambda one, folder: cut(folder / "2750/River/River_3.jpg"), r"River_3.jpg cannot be decoded \(.*truncated"),
        (make_split, "was made here; this is not the published split; delete it and put the one of https://"),
        (edit_split(lambda lists: lists["train"].pop()), "^train has 49 images instead of 50$"),
        (edit_split(lambda lists: lists["test"].append(lists["train"][0])), "^1 images stand twice .* train and test$"),
        (edit_split(lambda lists: lists["val"].append(lists["val"][0])), "^1 images stand twice .* in val$"),
        (edit_split(lambda lists: lists["train"].reverse()), "is not the published split: .* same counts"),
        (edit_split(lambda lists: lists["train"][0].__setitem__(1, 1)), "1 stands for both"),
        (edit_split(lambda lists: lists["train"][0].__setitem__(1, 12)), "10 is missing"),
    ],
)
def test_findings(
    change: Change, finding: str, small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = small("EuroSAT")
    change(published, tmp_path / "eurosat")
    finding_of(published, tmp_path, finding, capsys)


@pytest.mark.parametrize(
    ("name", "change", "finding"),
    [
        ("ImageNetR", lambda folder: shutil.rmtree(folder / "imagenet-r/n01443537"), "^there are 1 classes instead of"),
        ("ImageNetR", lambda folder: text(folder / "classnames.txt", ["n01440764 tench"]), "not in classnames.txt"),
        ("ImageNetA", lambda folder: images(folder / "imagenet-a/n01443537", ["x.jpg"]), "^test has 21 images inst"),
        ("ImageNet", lambda folder: images(folder / "images/val/n01443537", ["x.jpg"]), "^val has 13 images instead"),
        ("ImageNet", lambda folder: shutil.rmtree(folder / "images/val/n01443537"), "n01443537 is in one only"),
        ("ImageNetV2", lambda folder: images(folder, numbered(f"{folder}/imagenetv2-matched-frequency-format-val/x")),
         "do not fit each other"),
        ("FGVCAircraft", lambda folder: (folder / "variants.txt").unlink(), "variants.txt is missing"),
        ("FGVCAircraft", lambda folder: (folder / "images/0200000.jpg").unlink(), "^1 of 30 images"),
    ],
)  # fmt: skip
def test_findings_where_the_split_is_official(
    name: str,
    change: Callable[[Path], object],
    finding: str,
    small: Small,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    published = small(name)
    change(tmp_path / published.folder)
    finding_of(published, tmp_path, finding, capsys)


def test_another_list_of_names(small: Small, tmp_path: Path) -> None:
    published = small("ImageNetSketch")
    path = tmp_path / published.folder / "classnames.txt"
    path.write_text(path.read_text().replace("great white shark", "white shark"))
    (finding,) = check(published, tmp_path)
    assert finding.startswith(f"{path} is not CLIP's curated list")


def test_a_split_file_in_another_form_is_the_same_split(small: Small, tmp_path: Path) -> None:
    published = small("EuroSAT")
    path = tmp_path / "eurosat" / published.split_file
    path.write_text(json.dumps({"note": "compact", **json.loads(path.read_text())}))
    assert check(published, tmp_path) == []


def test_several_at_once(small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small("EuroSAT")
    assert main(["check", "EuroSAT", "eurosat", "dtd", "--root", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["EuroSAT", "DescribableTextures"]


def test_decoding_many_finds_each_fault(tmp_path: Path) -> None:
    paths = [f"{number:04d}.jpg" for number in range(2 * CHUNK + 5)]
    images(tmp_path, paths)
    broken = [paths[0], paths[CHUNK], paths[-1]]
    for path in broken:
        (tmp_path / path).write_bytes(b"GIF89a nonsense")
    assert [path for path, _ in undecodable(tmp_path, paths, "images")] == broken


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "eurosta"], "called 'eurosta': did you mean EuroSAT?"),
        (["check", "imagenet-rendition", "imagenet_x"], "'imagenet_x': did you mean ImageNet"),
        (["check", "qqqq"], f"'qqqq': there are {', '.join(PUBLISHED)}"),
        (["check", "EuroSAT", "--root", "nowhere"], "no data root nowhere: give it with --root DIR or $DATA"),
        (["list", "--root", "nowhere"], "no data root nowhere"),
        (["prepare", "eurosta"], "did you mean EuroSAT?"),
        (["prepare", "EuroSAT", "--from", "nowhere.zip"], "there is no nowhere.zip"),
        (["prepare", "EuroSAT", "DTD", "--from", "."], "for one data set"),
        (["prepare", "EuroSAT", "--root", "file/data"], "file/data cannot be made"),
    ],
)
def test_wrong_input(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    text(tmp_path / "file", [])
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_root_is_data_by_default(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small("EuroSAT")
    monkeypatch.setenv("DATA", str(tmp_path))
    assert main(["check", "EuroSAT"]) == 0
