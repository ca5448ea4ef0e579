"""A user's own images: every form they may come in, what is wrong in one sentence, and both phases over them."""

from __future__ import annotations

import csv
import json
import logging
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import datasets  # noqa: F401  registers
import train
from caspl.boosting import read_boosting
from caspl.errors import CasPLError
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from dassl.utils import read_image
from dassl.utils.logger import close_logger
from datasets.protocol.assign import ANEW, by_ratios
from datasets.protocol.walk import Found
from tests.datasets.miniatures import images, jpeg, numbered
from tests.stubs import make_cfg

REPO = Path(train.__file__).parent
CLASSES = ("Zebra", "ant hill", "пёс", "猫")  # in code point order


@pytest.fixture(autouse=True)
def _log_of_all(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.INFO)
    yield
    close_logger()


def folder(root: Path, shots: int = -1, subset: str = "all", seed: int = 1, **settings: Any) -> Any:
    """The data set; settings are those of ``DATASET.FOLDER``."""
    more = {f"DATASET__FOLDER__{key}": value for key, value in settings.items()}
    more |= {"DATASET__ROOT": str(root), "DATASET__NUM_SHOTS": shots, "DATASET__SUBSAMPLE_CLASSES": subset}
    return DATASET_REGISTRY.get("Folder")(make_cfg("CoOp", "", 32, DATASET__NAME="Folder", SEED=seed, **more))


def refused(root: Path, **settings: Any) -> str:
    with pytest.raises(CasPLError) as caught:
        folder(root, **settings)
    message = str(caught.value)
    assert message.startswith("Folder: ")
    assert "\n" not in message
    return message


def paths(items: Any, root: Path) -> list[str]:
    return [Path(item.impath).relative_to(root).as_posix() for item in items or ()]


def sizes(dataset: Any) -> tuple[int, int, int]:
    return len(dataset.train_x), len(dataset.val or ()), len(dataset.test)


def rows(path: Path, *lines: tuple[str, ...]) -> None:
    delimiter = "\t" if path.suffix == ".tsv" else ","
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(lines)


# Forms. Each writer leaves ten images a class, and says how many of them are for what. --------------------------------


def class_folders(root: Path) -> None:
    images(root, numbered(*CLASSES))


def part_folders(root: Path) -> None:
    for part, count in (("train", 5), ("valid", 2), ("test", 3)):
        images(root / part, numbered(*CLASSES, count=count))


def table(root: Path, suffix: str = ".csv", split: bool = True) -> None:
    images(root, numbered("all my images", count=40))
    names = numbered("all my images", count=40)
    split_of = ["train"] * 5 + ["val"] * 2 + ["test"] * 3
    lines = [(path, CLASSES[i // 10], split_of[i % 10])[: 2 + split] for i, path in enumerate(names)]
    rows(root / f"labels{suffix}", ("path", "class", "split")[: 2 + split], *lines)


def json_table(root: Path) -> None:
    table(root)
    with (root / "labels.csv").open(encoding="utf-8") as file:
        (root / "labels.json").write_text(json.dumps(list(csv.DictReader(file))))
    (root / "labels.csv").unlink()


def split_file(root: Path) -> None:
    class_folders(root)
    content: dict[str, list[Any]] = {"train": [], "val": [], "test": []}
    for label, name in enumerate(CLASSES):
        for number, path in enumerate(numbered(name)):
            content["train" if number < 5 else "val" if number < 7 else "test"].append([path, label, name])
    (root / "split_mine.json").write_text(json.dumps(content))


FORMS: dict[str, tuple[Callable[[Path], None], dict[str, str]]] = {
    "split": (split_file, {}),
    "parts": (part_folders, {}),
    "classes": (class_folders, {}),
    "csv": (table, {}),
    "tsv": (lambda root: table(root, ".tsv"), {}),
    "csv without split": (lambda root: table(root, split=False), {}),
    "json": (json_table, {"LIST": "labels.json"}),
}
every_form = pytest.mark.parametrize("form", FORMS)


@every_form
def test_forms(form: str, tmp_path: Path) -> None:
    write, settings = FORMS[form]
    write(tmp_path)
    dataset = folder(tmp_path, **settings)
    assert dataset.classnames == list(CLASSES)
    assert sizes(dataset) == (20, 8, 12)
    for items, count in ((dataset.train_x, 5), (dataset.val, 2), (dataset.test, 3)):
        assert Counter(item.label for item in items) == dict.fromkeys(range(4), count)
        assert all(item.classname == CLASSES[item.label] and Path(item.impath).is_file() for item in items)
    again = folder(tmp_path, **settings)
    assert paths(again.train_x, tmp_path) == paths(dataset.train_x, tmp_path)


@every_form
def test_shots_and_subsets(form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write, settings = FORMS[form]
    write(tmp_path)
    every, base, new = (folder(tmp_path, 2, subset, **settings) for subset in ("all", "base", "new"))
    assert sizes(every) == (8, 8, 12)
    assert (tmp_path / "split_fewshot" / "shot_2-seed_1.json").is_file()
    assert (base.classnames, new.classnames) == (["Zebra", "ant hill"], ["пёс", "猫"])
    assert sorted(paths([*base.train_x, *new.train_x], tmp_path)) == sorted(paths(every.train_x, tmp_path))
    assert {item.label for item in new.test} == {0, 1}
    assert "new: 2 of 4 classes: пёс, 猫" in caplog.messages


def test_the_first_form_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for write in (class_folders, table):
        write(tmp_path)
    assert "can be read in two ways" in refused(tmp_path)
    assert "all my images" in folder(tmp_path, LIST="folders").classnames
    part_folders(tmp_path)
    assert sizes(folder(tmp_path, LIST="folders")) == (20, 8, 12)
    assert folder(tmp_path, LIST="labels.csv").train_x[0].impath.endswith("all my images/image_0001.jpg")
    split_file(tmp_path)
    assert paths(folder(tmp_path).train_x, tmp_path)[0] == "Zebra/image_0001.jpg"
    shutil.copy(tmp_path / "split_mine.json", tmp_path / "split_other.json")
    assert "several split files (split_mine.json, split_other.json)" in refused(tmp_path)
    assert sizes(folder(tmp_path, LIST="split_other.json")) == (20, 8, 12)


def test_classes_may_be_called_train(tmp_path: Path) -> None:
    images(tmp_path, numbered("bus", "car", "train"))
    assert folder(tmp_path).classnames == ["bus", "car", "train"]


def test_what_is_no_image_or_no_class_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images(tmp_path, [*numbered("cat", "dog", count=4), "cat/deep/er/image.PNG", "loose.jpg"])
    images(tmp_path, ["cat/.hidden.jpg", "cat/readme.png", "cat/.ipynb_checkpoints/a.jpg", "__MACOSX/cat/._a.jpg"])
    for name in ("cat/Thumbs.db", "dog/notes.txt", "README.md"):
        (tmp_path / name).write_text("")
    (tmp_path / "dog" / "circle").symlink_to(tmp_path / "dog")
    folder(tmp_path, 1)
    dataset = folder(tmp_path)  # now with a folder of few-shot samples
    assert dataset.classnames == ["cat", "dog"]
    found = paths([*dataset.train_x, *dataset.val, *dataset.test], tmp_path)
    assert sorted(found) == sorted([*numbered("cat", "dog", count=4), "cat/deep/er/image.PNG"])
    unused = ", ".join(sorted(["README.md", *(path.name for path in tmp_path.glob("*.jpg"))]))
    assert f"{tmp_path} holds what is not used: {unused}" in caplog.messages


@pytest.mark.parametrize(
    ("write", "settings"),
    [(class_folders, {}), (part_folders, {}), (class_folders, {"UNLABELLED": "猫"}), (table, {}), (split_file, {})],
)
def test_each_folder_of_images_is_listed_once(
    write: Callable[[Path], None], settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the split is read that was kept before."""
    write(tmp_path)
    holds_images = {path.parent for path in tmp_path.rglob("*.jpg")}
    for name in ("scandir", "listdir"):
        look = getattr(os, name)

        def counted(path: Any = ".", look: Callable[..., Any] = look) -> Any:
            looks[Path(path)] += 1
            return look(path)

        monkeypatch.setattr(os, name, counted)
    for _ in range(2):
        looks: Counter[Path] = Counter()
        folder(tmp_path, **settings)
        assert {path: looks[path] for path in holds_images} == dict.fromkeys(holds_images, 1)


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    images(tmp_path / "elsewhere", numbered("cat", "dog", count=4))
    (tmp_path / "root").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "root" / name).symlink_to(tmp_path / "elsewhere" / name)
    assert sizes(folder(tmp_path / "root")) == (4, 2, 2)


def test_a_folder_beside_train_and_test_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    part_folders(tmp_path)
    images(tmp_path, ["more/a.jpg", "holdout/Zebra/a.jpg"])
    assert sizes(folder(tmp_path, UNLABELLED="more")) == (20, 8, 12)
    assert f"{tmp_path} holds what is not used: holdout" in [
        record.getMessage() for record in caplog.records if record.levelno == logging.WARNING
    ]


def test_the_paths_of_a_split_are_kept_in_one_form(tmp_path: Path) -> None:
    split_file(tmp_path)
    path = tmp_path / "split_mine.json"
    path.write_text(path.read_text().replace('"Zebra/image_0001.jpg', '"./Zebra/../Zebra/image_0001.jpg'))
    assert f"{tmp_path}/Zebra/image_0001.jpg" in [item.impath for item in folder(tmp_path).train_x]


# The split by ratios --------------------------------------------------------------------------------------------------


def kept(root: Path) -> Path:
    (path,) = root.glob("split_caspl*.json")
    return path


def assigned(dataset: Any, root: Path) -> dict[str, str]:
    lists = {"train": dataset.train_x, "val": dataset.val, "test": dataset.test}
    return {path: part for part, items in lists.items() for path in paths(items, root)}


def test_the_split_is_kept_in_coops_form(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class_folders(tmp_path)
    made = folder(tmp_path)
    assert kept(tmp_path).name == "split_caspl_0.5-0.2-0.3_seed1.json"
    assert f"the split is kept in {kept(tmp_path)}" in caplog.messages
    content = json.loads(kept(tmp_path).read_text())
    items = {"train": made.train_x, "val": made.val, "test": made.test}
    assert content == {
        part: [[path, item.label, item.classname] for path, item in zip(paths(these, tmp_path), these, strict=True)]
        for part, these in items.items()
    }


def test_the_split_follows_from_its_seed_and_the_class(tmp_path: Path) -> None:
    class_folders(tmp_path)
    random.seed(5)
    state = random.getstate()
    first = assigned(folder(tmp_path), tmp_path)
    assert random.getstate() == state
    kept(tmp_path).unlink()
    images(tmp_path, numbered("aardvark"))
    with_another = assigned(folder(tmp_path, seed=2), tmp_path)
    assert {path: with_another[path] for path in first} == first
    other_seed = assigned(folder(tmp_path, SPLIT_SEED=2), tmp_path)
    assert {path: other_seed[path] for path in first} != first
    # Not the same places in each class, and not the listed order.
    places = {name: {path[-8:]: part for path, part in first.items() if path.startswith(name)} for name in CLASSES}
    assert places["Zebra"] != places["猫"]
    assert list(first) != sorted(first)


def test_the_split_does_not_follow_the_order_of_a_list(tmp_path: Path) -> None:
    table(tmp_path, split=False)
    first = assigned(folder(tmp_path), tmp_path)
    kept(tmp_path).unlink()
    head, *lines = (tmp_path / "labels.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "labels.csv").write_text("\n".join([head, *reversed(lines)]), encoding="utf-8")
    assert assigned(folder(tmp_path), tmp_path) == first


def test_new_images_do_not_move_the_old_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class_folders(tmp_path)
    first = assigned(folder(tmp_path), tmp_path)
    images(tmp_path, ["Zebra/another.jpg"])
    assert assigned(folder(tmp_path), tmp_path) == first
    assert "run phase 1 and phase 2 again" in ANEW
    assert f"{kept(tmp_path)} lacks images that have come (1): to use them, {ANEW}" in caplog.messages
    (tmp_path / "names.txt").write_text("猫 cat\n")
    assert folder(tmp_path, CLASSNAMES="names.txt").classnames == ["Zebra", "ant hill", "пёс", "cat"]
    images(tmp_path, numbered("bee"))
    assert f"was made before there were the classes bee: {ANEW}" in refused(tmp_path)
    shutil.rmtree(tmp_path / "bee")
    (tmp_path / "Zebra" / "image_0003.jpg").unlink()
    assert f"holds images that are gone (1, such as Zebra/image_0003.jpg): {ANEW}" in refused(tmp_path)
    kept(tmp_path).unlink()
    assert sizes(folder(tmp_path)) == (20, 8, 12)


def test_declared_images_are_not_shared_out() -> None:
    found = [Found(f"{i}.jpg", "cat", "test" if i == 7 else "") for i in range(10)]
    with pytest.raises(CasPLError, match=r"^7\.jpg is for test already: say of every image, or of none"):
        by_ratios(found, (0.5, 0.2, 0.3), 1)


def test_other_ratios_make_another_split(tmp_path: Path) -> None:
    class_folders(tmp_path)
    first = assigned(folder(tmp_path), tmp_path)
    without_val = folder(tmp_path, RATIOS=(0.7, 0, 0.3))
    assert sizes(without_val) == (28, 0, 12)
    assert without_val.val is None
    assert assigned(folder(tmp_path), tmp_path) == first
    assert len(list(tmp_path.glob("split_caspl*.json"))) == 2


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    class_folders(tmp_path)
    monkeypatch.setattr("tempfile.mkstemp", refuse)
    first, second = (assigned(folder(tmp_path, 2), tmp_path) for _ in range(2))
    assert first == second
    assert "the split is not kept" in caplog.text
    assert not list(tmp_path.glob("*.json"))


def test_a_few_shot_sample_belongs_to_its_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class_folders(tmp_path)
    one, other = (folder(tmp_path, 2, SPLIT_SEED=seed) for seed in (1, 2))
    assert "belongs to another split: the sample is drawn anew" in caplog.text
    train_paths = {path for path, part in assigned(folder(tmp_path, SPLIT_SEED=2), tmp_path).items() if part == "train"}
    assert set(paths(other.train_x, tmp_path)) <= train_paths
    assert paths(one.train_x, tmp_path) != paths(other.train_x, tmp_path)


def test_more_shots_than_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images(tmp_path, [*numbered("cat", count=40), *numbered("dog"), *numbered("eel", count=6)])
    dataset = folder(tmp_path, 16)
    assert Counter(item.classname for item in dataset.train_x) == {"cat": 16, "dog": 5, "eel": 3}
    assert "2 of 3 classes have fewer than 16 training images and give all they have: dog 5, eel 3" in caplog.messages


# Test images only -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratios", [(0.5, 0.2, 0.3), (0, 0, 1)])
def test_images_for_evaluation_only(ratios: tuple[float, ...], tmp_path: Path) -> None:
    images(tmp_path / ("test" if ratios[2] < 1 else ""), numbered(*CLASSES))
    dataset = folder(tmp_path, 4, RATIOS=ratios)
    assert dataset.test_only
    assert dataset.classnames == list(CLASSES)
    assert len(dataset.test) == 40
    new = folder(tmp_path, 4, "new", RATIOS=ratios)
    assert (new.classnames, len(new.test)) == (["пёс", "猫"], 20)
    assert not list(tmp_path.glob("split*"))


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("names.json", '{"n02": "tabby cat", "n01": "Hund"}'),
        ("names.txt", "n02 tabby cat\n\nn01 Hund\nn99 unused\n"),
        ("names.tsv", "\ufeffn01\tHund\nn02\ttabby cat"),
    ],
)
@every_form
def test_class_names(file: str, text: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.datasets.test_folder.CLASSES", ("n01", "n02", "n03", "n04"))
    write, settings = FORMS[form]
    write(tmp_path)
    (tmp_path / file).write_text(text, encoding="utf-8")
    # n03 and n04 keep their folders' names; labels follow the folders.
    assert folder(tmp_path, CLASSNAMES=file, **settings).classnames == ["Hund", "tabby cat", "n03", "n04"]


def test_numbers_are_no_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images(tmp_path, numbered("0", "1", "10"))
    assert folder(tmp_path).classnames == ["0", "1", "10"]
    assert "the classes are called 0, 1, 10: CLIP knows words; see DATASET.FOLDER.CLASSNAMES" in caplog.messages


def test_names_are_composed(tmp_path: Path) -> None:
    images(tmp_path, numbered("caf\u0065\u0301", "bar"))
    assert folder(tmp_path).classnames == ["bar", "caf\u00e9"]


@pytest.mark.parametrize("dataset", ["", "{} in a drawing"])
def test_template(dataset: str) -> None:
    names = {"DATASET__NAME": "Folder", "DATASET__TEMPLATE": dataset}
    zero_shot = TRAINER_REGISTRY.get("ZeroshotCLIP")
    trainer = zero_shot.__new__(zero_shot)
    trainer.cfg = make_cfg("ZeroshotCLIP", "", 32, **names)
    assert trainer.templates() == (dataset or "a photo of a {}.",)
    trainer.cfg = make_cfg("ZeroshotCLIP", "", 32, TRAINER__ZSCLIP__TEMPLATE="a {}", **names)
    assert trainer.templates() == ("a {}",)


# Unlabelled images ----------------------------------------------------------------------------------------------------


def test_unlabelled_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    images(root, [*numbered("cat", "dog", count=4), *numbered("unlabelled/day 1", count=3), "unlabelled/x.jpg"])
    images(outside, numbered("y", count=2))
    dataset = folder(root, UNLABELLED="unlabelled")
    assert dataset.classnames == ["cat", "dog"]
    assert paths(dataset.train_u, root) == [*numbered("unlabelled/day 1", count=3), "unlabelled/x.jpg"]
    assert "4 unlabelled images: phase 1 looks at these only" in caplog.messages
    shutil.rmtree(root / "unlabelled")
    assert paths(folder(root, UNLABELLED=str(outside)).train_u, outside) == numbered("y", count=2)
    assert folder(root).train_u is None


def test_unlabelled_images_further_down(tmp_path: Path) -> None:
    images(tmp_path, [*numbered("cat", "dog", count=4), *numbered("pool/more", count=3)])
    dataset = folder(tmp_path, UNLABELLED="pool/more")
    assert dataset.classnames == ["cat", "dog"]
    assert len(dataset.train_u) == 3
    (tmp_path / "dog" / "names.txt").write_text("cat lion\n")
    assert folder(tmp_path, UNLABELLED="pool/more", CLASSNAMES="dog/names.txt").classnames == ["lion", "dog"]


def test_a_list_of_unlabelled_images(tmp_path: Path) -> None:
    part_folders(tmp_path)
    few = ["train/猫/image_0002.jpg", "valid/Zebra/image_0001.jpg"]
    (tmp_path / "few.txt").write_text("\n".join(few), encoding="utf-8")
    rows(tmp_path / "few.csv", ("path",), *((path,) for path in few))
    (tmp_path / "few.json").write_text(json.dumps(few))
    for name in ("few.txt", "few.csv", "few.json"):
        assert paths(folder(tmp_path, UNLABELLED=name).train_u, tmp_path) == few
    (tmp_path / "few.txt").write_text("test/猫/image_0002.jpg", encoding="utf-8")
    assert "few.txt holds test images (1, such as test/猫/" in refused(tmp_path, UNLABELLED="few.txt")
    assert "holds test images (12, such as Zebra/image_0001.jpg), which training must not see" in refused(
        tmp_path, UNLABELLED="test"
    )


# What is wrong --------------------------------------------------------------------------------------------------------


def with_list(*lines: tuple[str, ...], name: str = "labels.csv") -> Callable[[Path], None]:
    def write(root: Path) -> None:
        images(root, numbered("images"))
        rows(root / name, *lines)

    return write


def with_file(name: str, content: bytes, form: Callable[[Path], None] = class_folders) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        form(root)
        (root / name).write_bytes(content)

    return write


def of(*names: str, count: int = 10) -> Callable[[Path], None]:
    return lambda root: images(root, numbered(*names, count=count))


def empty_class(root: Path) -> None:
    class_folders(root)
    (root / "empty").mkdir()


def no_unicode(root: Path) -> None:
    class_folders(root)
    (root / "Zebra" / "\udcff.jpg").write_bytes(jpeg())


def no_unicode_class(root: Path) -> None:
    class_folders(root)
    images(root, numbered("\udcff"))


def split_of(train: list[Any], test: list[Any], val: list[Any] | None = None) -> Callable[[Path], None]:
    content = json.dumps({"train": train, "val": val or [], "test": test}).encode()
    return with_file("split.json", content, of("a", "b"))


def linked_test(root: Path) -> None:
    images(root, numbered("train/a", "train/b", "test/b"))
    (root / "test" / "a").symlink_to(root / "train" / "a")


def rows_of_json(*rows: dict[str, str]) -> Callable[[Path], None]:
    return with_file("list.json", json.dumps(rows).encode(), of("images"))


PATHS = tuple(numbered("images"))
A, B = (tuple([path, label, name] for path in numbered(name)) for label, name in enumerate("ab"))
IN_BOTH = "of training or validation are test images too"
FAULTS: dict[str, tuple[Callable[[Path], None], dict[str, Any], str]] = {
    "nothing there": (lambda root: None, {}, "holds nothing, where folders of images for at least two classes are"),
    "loose images": (of("."), {}, "holds image_0001.jpg, image_0002.jpg"),
    "one class": (of("cat"), {}, "holds cat, where folders of images for at least two classes are expected"),
    "one class in a list": (
        with_list(("path", "class"), *((path, "cat") for path in PATHS)),
        {},
        "there is one class, cat: classification needs at least two",
    ),
    "one level too high": (of("mine/cat", "mine/dog"), {}, "did you mean --root"),
    "empty class": (empty_class, {}, "empty holds no image (jpg, jpeg, png, bmp, gif, webp, tif, tiff, ppm)"),
    "small class": (of("cat", "dog", count=3), {}, "'cat' has 3 images, too few for shares of 0.5 / 0.2 / 0.3: add"),
    "same name": (of("Red_fox", "red fox"), {}, "'Red_fox' and 'red fox' are both called 'red fox' in prompts"),
    "same given name": (
        with_file("names.json", json.dumps({"Zebra": "dog", "猫": "Dog"}).encode()),
        {"CLASSNAMES": "names.json"},
        "'Zebra' and '猫' are both called 'dog' in prompts",
    ),
    "no test": (of("train/cat", "train/dog"), {}, "there are no test images: add test/<class>/"),
    "no training": (
        of("train/cat", "test/cat", "test/dog"),
        {},
        "there are no training images of dog, but others",
    ),
    "parts without classes": (of("train", "test"), {}, "train and test folders of such"),
    "part without classes": (of("train/cat", "train/dog", "test"), {}, "test has no class folders"),
    "two ratios": (class_folders, {"RATIOS": (0.5, 0.5)}, "RATIOS is (train, val, test)"),
    "negative ratios": (class_folders, {"RATIOS": (1.2, -0.5, 0.3)}, "RATIOS is (train, val, test)"),
    "large ratios": (class_folders, {"RATIOS": (50, 20, 30)}, "sum to 100, not to 1"),
    "no test ratio": (class_folders, {"RATIOS": (0.8, 0.2, 0)}, "need images for the test"),
    "missing list": (class_folders, {"LIST": "labels.csv"}, "DATASET.FOLDER.LIST: there is no"),
    "missing folder": (class_folders, {"UNLABELLED": "more"}, "DATASET.FOLDER.UNLABELLED: there is no"),
    "missing unlabelled": (
        with_file("more.txt", "猫/0.jpg".encode()),
        {"UNLABELLED": "more.txt"},
        "1 of 1 listed images are",
    ),
    "no list": (with_file("labels.xlsx", b""), {"LIST": "labels.xlsx"}, "must be a .csv, .tsv, .json or .txt file"),
    "no table": (with_file("labels.csv", b"path,class\n" + b"x" * 200_000, of("images")), {}, "labels.csv is no table"),
    "empty list": (with_list(("path", "class")), {}, "labels.csv lists no image"),
    "two lists": (with_file("other.csv", b"", table), {}, "one .csv or .tsv (of several, name one in"),
    "no path column": (with_list(("id", "class"), ("1", "cat")), {}, "no column path or file or"),
    "no class column": (
        with_list(("path",), *((path,) for path in PATHS)),
        {},
        "no column class or classname or label",
    ),
    "empty class cell": (with_list(("path", "label"), (PATHS[0], "")), {}, "row 1: the column label is empty"),
    "extra cell": (with_list(("path", "class"), (PATHS[0], "cat", "x")), {}, "row 1 has more cells"),
    "strange split": (
        with_list(("path", "class", "split"), (PATHS[0], "cat", "train"), (PATHS[1], "cat", "holdout")),
        {},
        "row 2: the split is train, val or test, not 'holdout'",
    ),
    "listed twice": (
        with_list(("path", "class"), (PATHS[0], "cat"), (f"images/../{PATHS[0]}", "dog")),
        {},
        "row 2: the image images/image_0001.jpg is listed twice",
    ),
    "in train and test": (split_of([A[0], A[1], B[0]], [A[1], B[1]]), {}, f"1 images {IN_BOTH}, such as {A[1][0]}"),
    "in val and test": (
        split_of([A[0], B[0]], [A[1], B[1]], [A[1], B[1]]),
        {},
        f"2 images {IN_BOTH}, such as {A[1][0]}",
    ),
    "in both, otherwise written": (
        split_of([A[0], B[0]], [A[1], [f"./{B[0][0]}", 1, "b"]]),
        {},
        f"1 images {IN_BOTH}, such as {B[0][0]}",
    ),
    "twice in one list": (
        split_of([A[0], B[0], [f"./{A[0][0]}", 1, "b"]], [A[1]]),
        {},
        f"split.json names {A[0][0]} 2 times for one list",
    ),
    "in both by a link": (linked_test, {}, f"10 images {IN_BOTH}, such as train/a/image_0001.jpg"),
    "first row without split": (
        rows_of_json(
            {"path": PATHS[0], "class": "cat"},
            *({"path": path, "class": "cat", "split": "test"} for path in PATHS[1:]),
        ),
        {"LIST": "list.json"},
        "row 1: the split is train, val or test, not ''",
    ),
    "blank class": (
        split_of([[A[0][0], 0, " "], B[0]], [[A[1][0], 0, " "], B[1]]),
        {},
        "the class ' ' has no name to read: rename it",
    ),
    "blank folder": (of("_", "cat"), {}, "the class '_' has no name to read: rename it"),
    "no such user": (class_folders, {"LIST": "~nobody-of-this-name/x"}, "DATASET.FOLDER.LIST: there is no"),
    "outside": (with_list(("path", "class"), ("../secret.jpg", "cat")), {}, "'../secret.jpg' is no file below"),
    "absolute": (with_list(("path", "class"), ("/etc/passwd", "cat")), {}, "'/etc/passwd' is no file below"),
    "outside by split": (
        with_file(
            "split.json",
            json.dumps({"train": [["../a.jpg", 0, "a"]], "val": [], "test": [["b.jpg", 0, "a"]]}).encode(),
        ),
        {},
        "'../a.jpg' is no file below",
    ),
    "missing images": (
        with_list(("path", "class"), *((f"{i}.jpg", "cd"[i % 2]) for i in range(20))),
        {},
        "20 of 20 listed images are missing, the first is",
    ),
    "no utf-8": (with_file("labels.csv", b"path,class\n\xff,\xe9\n", of("images")), {}, "not encoded in UTF-8"),
    "no json": (with_file("list.json", b"{"), {"LIST": "list.json"}, "list.json is no JSON"),
    "split without lists": (with_file("split.json", b"{}"), {}, "must be a JSON object with the lists train, test"),
    "names of others": (
        with_file("names.txt", b"lion Loewe\n"),
        {"CLASSNAMES": "names.txt"},
        "CLASSNAMES names lion, but the classes are Zebra, ant hill",
    ),
    "name missing": (with_file("names.txt", b"Zebra\n"), {"CLASSNAMES": "names.txt"}, "'Zebra' has no name"),
    "names no object": (with_file("names.json", b"[1]"), {"CLASSNAMES": "names.json"}, "must be a JSON object"),
    "two names": (with_file("n.txt", b"a b\na c\n"), {"CLASSNAMES": "n.txt"}, "has two names for 'a'"),
    "nothing unlabelled": (
        lambda root: (class_folders(root), (root / "more").mkdir())[0],
        {"UNLABELLED": "more"},
        "more holds no image",
    ),
    "no unicode": (no_unicode, {}, "the name '\\udcff.jpg' in "),
    "no unicode in a class": (no_unicode_class, {}, "the name '\\udcff' in "),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_sentence(fault: str, tmp_path: Path) -> None:
    write, settings, says = FAULTS[fault]
    write(tmp_path)
    assert says in refused(tmp_path, **settings)


def test_no_root(tmp_path: Path) -> None:
    assert f"there is no folder {tmp_path / 'mine'}" in refused(tmp_path / "mine")


def test_absolute_paths_and_windows_paths_that_lead_into_the_root(tmp_path: Path) -> None:
    images(tmp_path, numbered("my images", count=8))
    names = numbered("my images", count=8)
    lines = [(str(tmp_path / path) if i % 2 else path.replace("/", "\\"), "cd"[i // 4]) for i, path in enumerate(names)]
    rows(tmp_path / "list.csv", ("Path", "Label"), *lines)
    dataset = folder(tmp_path)
    assert sorted(paths([*dataset.train_x, *dataset.val, *dataset.test], tmp_path)) == names


def test_semicolons_and_commas(tmp_path: Path) -> None:
    images(tmp_path, [f"{name}, {i}.jpg" for name in "cd" for i in range(4)])
    lines = [(f"{name}, {i}.jpg", name) for name in "cd" for i in range(4)]
    rows(tmp_path / "list.csv", ("file_name", "label"), *lines)
    assert sizes(folder(tmp_path)) == (4, 2, 2)
    text = "".join(f"{path};{name}\n" for path, name in [("path", "class"), *lines])
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    assert sizes(folder(tmp_path)) == (4, 2, 2)


# Images of every kind -------------------------------------------------------------------------------------------------


def test_images_are_read_as_rgb(tmp_path: Path) -> None:
    colour = (200, 100, 50)
    flat = Image.new("RGB", (8, 8), colour)
    pictures = {
        "grey.png": Image.new("L", (8, 8), 90),
        "palette.png": flat.quantize(4),
        "see-through.png": flat.convert("RGBA"),
        "hidden.png": Image.new("RGBA", (8, 8), (*colour, 0)),
        "cmyk.jpg": flat.convert("CMYK"),
        "ink.png": Image.new("1", (8, 8), 1),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
    flat.quantize(4).save(tmp_path / "gif.jpg", "GIF")
    flat.quantize(4).save(tmp_path / "clear.png", transparency=bytes([0] * 4))
    pixels = {path.name: np.asarray(read_image(str(path))) for path in tmp_path.iterdir()}
    assert {array.shape for array in pixels.values()} == {(8, 8, 3)}
    means = {name: array.mean(axis=(0, 1)).round().tolist() for name, array in pixels.items()}
    assert means["grey.png"] == [90, 90, 90]
    assert means["ink.png"] == [255, 255, 255]
    # What is transparent shows the colour that is stored there, as in the published code: no white is put behind it.
    for name in ("palette.png", "see-through.png", "hidden.png", "gif.jpg", "clear.png"):
        assert means[name] == list(colour)
    assert np.abs(np.subtract(means["cmyk.jpg"], colour)).max() <= 2  # JPEG rounds


# Both phases ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_images(tmp_path: Path) -> Path:
    """Four classes of noise around a colour, in several modes, and images without labels."""
    root, generator = tmp_path / "my images", np.random.default_rng(0)
    for number, name in enumerate((*CLASSES, "without labels")):
        (root / name).mkdir(parents=True)
        for index in range(8):
            pixels = np.clip(60 * number + generator.integers(0, 60, (40, 36, 4)), 0, 255).astype(np.uint8)
            mode, suffix = (("RGB", "jpg"), ("RGBA", "png"), ("L", "jpg"), ("P", "png"))[index % 4]
            Image.fromarray(pixels).convert("RGB" if mode == "P" else "RGBA").convert(mode).save(
                root / name / f"bild {index}.{suffix}"
            )
    return root


def test_both_phases(own_images: Path, clips: dict[str, str], tmp_path: Path, capsys: Any) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text(
        "DATASET:\n  NAME: Folder\n  TEMPLATE: a drawing of {}.\n"
        "  FOLDER:\n    UNLABELLED: without labels\n    RATIOS: [0.5, 0, 0.5]\n"
    )

    def run(trainer: str, method: str, out: str, *more: str) -> int:
        # fmt: off
        return train.main([
            "--root", str(own_images), "--trainer", trainer, "--seed", "1", "--backbone", clips["student"],
            "--dataset-config-file", str(config), "--config-file", str(REPO / f"configs/trainers/{method}.yaml"),
            "--output-dir", str(tmp_path / out), "INPUT.SIZE", "(32, 32)", "DATALOADER.NUM_WORKERS", "0",
            "OPTIM.MAX_EPOCH", "1", "TRAINER.CASPL.TEACHER", clips["teacher"],
            "TRAINER.CASPL.BOOSTING_DIR", str(tmp_path / "boosting"), *more,
        ])
        # fmt: on

    boost = ["TRAINER.CASPL.PREC", "fp32", "DATALOADER.TRAIN_X.BATCH_SIZE", "4"]
    assert run("CasPL", "CasPL/vit_b16_c2_ep20_batch4_8+8ctx_l12", "boost", *boost) == 0
    (file,) = (tmp_path / "boosting").rglob("*.safetensors")
    header = read_boosting(file).header
    assert (header.dataset, header.template, header.classnames) == ("Folder", "a drawing of {}.", CLASSES)

    method = "CasPL_PromptSRC/vit_b16_c2_ep20_batch4_8+8ctx_l12"
    adapt = ["TRAINER.PROMPTSRC.PREC", "fp32", "TRAINER.PROMPTSRC.GPA_MEAN", "1", "DATASET.NUM_SHOTS", "2"]
    assert run("CasPL_PromptSRC", method, "adapt", *adapt, "DATASET.SUBSAMPLE_CLASSES", "base") == 0
    assert "base: 2 of 4 classes: Zebra, ant hill" in (tmp_path / "adapt" / "log.txt").read_text(encoding="utf-8")
    load = ["--eval-only", "--model-dir", str(tmp_path / "adapt"), "DATASET.SUBSAMPLE_CLASSES", "new"]
    assert run("CasPL_PromptSRC", method, "new", *adapt, *load) == 0
    record = json.loads((tmp_path / "new" / "result.json").read_text())
    assert (record["dataset"], record["classes"], record["test_images"]) == ("Folder", "new", 8)

    (own_images / "猫").rename(own_images / "cat")
    for path in own_images.glob("split_caspl*.json"):
        path.unlink()
    assert run("CasPL", "CasPL/vit_b16_c2_ep20_batch4_8+8ctx_l12", "others", *boost) == 2
    assert "seed1.safetensors was made with other settings or classes" in capsys.readouterr().err

    for image in (own_images / "cat").iterdir():
        image.write_bytes(image.read_bytes()[:200])
    assert run("ZeroshotCLIP", "ZeroshotCLIP/vit_b16", "zero") == 2
    (sentence,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "the image" in sentence
    assert "my images/cat/bild " in sentence


def test_phase_1_looks_at_the_unlabelled_images(own_images: Path, clips: dict[str, str], tmp_path: Path) -> None:
    looks_at = {}
    for unlabelled in ("", "without labels"):
        cfg = make_cfg(
            "CasPL",
            clips["student"],
            32,
            DATASET__NAME="Folder",
            DATASET__ROOT=str(own_images),
            DATASET__FOLDER__UNLABELLED=unlabelled,
            DATASET__FOLDER__SPLIT_SEED=len(looks_at),  # another split: the classes differ
            DATALOADER__NUM_WORKERS=0,
            DATALOADER__TRAIN_X__BATCH_SIZE=4,
            INPUT__TRANSFORMS=["normalize"],
            OUTPUT_DIR=str(tmp_path / "run"),
        )
        trainer = TRAINER_REGISTRY.get("CasPL")(cfg)
        looks_at[unlabelled] = {Path(item.impath).parent.name for item in trainer.train_loader_x.dataset.data_source}
        assert len(next(iter(trainer.train_loader_x))["img"]) == 4
    assert looks_at == {"": {*CLASSES, "without labels"}, "without labels": {"without labels"}}
