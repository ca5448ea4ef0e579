"""The table of the published data sets, and ``python -m caspl.data list``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

import datasets  # noqa: F401  registers
from caspl.data import PUBLISHED, find_published, read_split
from caspl.data.__main__ import main
from caspl.data.check import check_content, check_counts
from caspl.data.official import READERS, classnames_text, packaged_classnames
from caspl.data.published import CLASSNAMES_BLOB
from caspl.data.split import blob_id
from dassl.data.datasets import DATASET_REGISTRY
from tests.data.small import Small

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("name", PUBLISHED)
def test_configs_and_classes_follow_the_table(name: str) -> None:
    published = PUBLISHED[name]
    config = yaml.safe_load((REPOSITORY / "configs" / "datasets" / f"{published.stem}.yaml").read_text())
    assert config["DATASET"]["NAME"] == name
    kind = DATASET_REGISTRY.get(name)
    assert (kind.dataset_dir, kind.image_folder, kind.split_file) == (
        published.folder,
        published.images,
        published.split_file,
    )
    assert kind.test_only == published.test_only
    assert bool(published.split_file) != (name in READERS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_spelling_is_understood(name: str) -> None:
    published = PUBLISHED[name]
    for spelling in (name, name.upper(), published.stem, published.folder, published.stem.replace("_", "-")):
        assert find_published(spelling) is published


def test_the_packaged_class_names_are_the_published_ones() -> None:
    names = packaged_classnames()
    text = classnames_text(dict(names))
    assert blob_id(text.encode()) == CLASSNAMES_BLOB
    assert text.startswith("n01440764 tench\nn01443537 goldfish\n")


def test_blob_id_is_gits() -> None:
    # What git says of an empty file.
    assert blob_id(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


@pytest.mark.parametrize("name", [name for name, published in PUBLISHED.items() if published.split_file])
def test_published_split_files(name: str) -> None:
    published = PUBLISHED[name]
    path = Path(os.environ.get("DATA", "data")) / published.folder / published.split_file
    if not path.exists() or read_split(path).origin:
        pytest.skip(f"{path} is not there, or not the published split")
    split = read_split(path)
    assert check_counts(published, split) + check_content(published, path, split) == []


def test_list_says_what_is_there(small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small("EuroSAT")
    published = small("OxfordPets")
    (tmp_path / published.folder / published.split_file).unlink()
    (tmp_path / "dtd").mkdir()
    assert main(["list", "EuroSAT", "oxford_pets", "dtd", "food101", "--root", str(tmp_path)]) == 0
    title, head, _, *lines = capsys.readouterr().out.splitlines()[:7]
    assert head.endswith("there")
    assert [line.split()[0] for line in lines] == ["EuroSAT", "OxfordPets", "DescribableTextures", "Food101"]
    assert [line.split("  ")[-1].strip() for line in lines] == ["yes", "split file missing", "images missing", "-"]


def test_the_docs_show_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--by-hand", "--format", "markdown"]) == 0
    assert capsys.readouterr().out in (REPOSITORY / "docs" / "datasets.md").read_text(encoding="utf-8")
