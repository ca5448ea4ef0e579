"""Own images: folders that can be read in two ways or hold what is no class, and photos of some trained classes."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

import train
from caspl.errors import CasPLError
from caspl.results import read_record
from dassl.utils.logger import close_logger
from tests.datasets.miniatures import images, numbered
from tests.datasets.test_folder import folder, paths, refused, rows, sizes

REPO = Path(train.__file__).parent


@pytest.fixture(autouse=True)
def _log_of_all(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.INFO)
    yield
    close_logger()


def parts_with_labels(root: Path) -> None:
    """As archives of thousands of images come: in parts, with a list of their classes."""
    found = [*numbered("images_part_1", count=10), *numbered("images_part_2", count=10)]
    images(root, found)
    rows(root / "labels.csv", ("path", "class"), *((path, "ant" if i % 2 else "bee") for i, path in enumerate(found)))


def test_a_list_beside_folders_that_are_no_classes(tmp_path: Path) -> None:
    parts_with_labels(tmp_path)
    said = refused(tmp_path)
    assert "can be read in two ways, by its folders (images_part_1, images_part_2) or by labels.csv" in said
    assert said.endswith("set DATASET.FOLDER.LIST to folders or to labels.csv")
    assert folder(tmp_path, LIST="labels.csv").classnames == ["ant", "bee"]
    assert folder(tmp_path, LIST="folders").classnames == ["images_part_1", "images_part_2"]


@pytest.mark.parametrize("part", [False, True])
def test_a_list_that_says_what_the_folders_say(part: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = numbered("ant", "bee", count=4)
    images(tmp_path, found)
    lines = [(path, path.partition("/")[0], "test")[: 2 + part] for path in found]
    rows(tmp_path / "labels.csv", ("path", "class", "split")[: 2 + part], *lines)
    if part:  # only the list says what is for what, but folders have no say in it
        assert folder(tmp_path, LIST="labels.csv").test_only
    assert sizes(folder(tmp_path)) == (4, 2, 2)
    assert f"{tmp_path} holds what is not used: labels.csv" in caplog.messages


def test_a_table_of_something_else_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images(tmp_path, numbered("ant", "bee", count=4))
    rows(tmp_path / "cameras.csv", ("camera", "lens"), ("a", "b"))
    (tmp_path / "LICENSE").write_text("")
    assert folder(tmp_path).classnames == ["ant", "bee"]
    assert f"{tmp_path} holds what is not used: LICENSE, cameras.csv" in caplog.messages


def test_what_a_list_or_split_file_does_not_use_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts_with_labels(tmp_path)
    images(tmp_path, ["more/a.jpg", "loose.jpg"])
    assert sizes(folder(tmp_path, LIST="labels.csv")) == (10, 4, 6)
    assert f"{tmp_path} holds what is not used: loose.jpg, more" in caplog.messages
    caplog.clear()
    lists = {
        "train": [["more/a.jpg", 0, "a"], ["loose.jpg", 1, "b"]],
        "test": [["images_part_1/image_0001.jpg", 0, "a"]],
    }
    (tmp_path / "split_mine.json").write_text(json.dumps(lists))
    assert sizes(folder(tmp_path)) == (2, 0, 1)  # without val, as the documents say
    assert f"{tmp_path} holds what is not used: images_part_2, labels.csv" in caplog.messages


@pytest.mark.parametrize("below", ["", "train"])
def test_an_output_folder_is_no_class(below: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part in ("train", "test") if below else ("",):
        images(tmp_path / part, numbered("ant", "bee", count=4))
    run = tmp_path / below / "output" / "mine" / "boost"
    run.mkdir(parents=True)
    (run / "log.txt").write_text("")
    dataset = folder(tmp_path)
    assert dataset.classnames == ["ant", "bee"]
    assert not any("output" in path for path in paths(dataset.train_x, tmp_path))
    if not below:
        assert f"{tmp_path} holds what is not used: output" in caplog.messages
    (tmp_path / below / "cat").mkdir()
    assert "cat holds no image" in refused(tmp_path)  # which nobody but the user can have made


def test_an_output_folder_beside_the_test_images(tmp_path: Path) -> None:
    images(tmp_path / "test", numbered("ant", "bee", count=4))
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "log.txt").write_text("")
    assert folder(tmp_path).test_only


# Some of the trained classes ------------------------------------------------------------------------------------------


def test_photos_of_some_trained_classes_are_judged_among_all(
    clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images(tmp_path / "all", numbered("ant_hill", "bee", "cat", count=8))

    def run(root: str, out: str, *more: str) -> int:
        # fmt: off
        return train.main([
            "--root", str(tmp_path / root), "--trainer", "CoOp", "--seed", "1", "--backbone", clips["student"],
            "--dataset-config-file", str(REPO / "configs/datasets/folder.yaml"),
            "--config-file", str(REPO / "configs/trainers/CoOp/vit_b16_ctxv1.yaml"),
            "--output-dir", str(tmp_path / out), "INPUT.SIZE", "(32, 32)", "DATALOADER.NUM_WORKERS", "0",
            "OPTIM.MAX_EPOCH", "1", "TRAINER.COOP.PREC", "fp32", "TRAINER.COOP.CSC", "True",
            "TRAINER.COOP.CTX_INIT", "", "TEST.PER_CLASS_RESULT", "True", "TEST.COMPUTE_CMAT", "True", *more,
        ])
        # fmt: on

    assert run("all", "adapt") == 0
    load = ["--eval-only", "--model-dir", str(tmp_path / "adapt")]
    for root, names in (("some", ("bee", "cat")), ("one", ("cat",))):
        images(tmp_path / root / "test", numbered(*names, count=3))
        assert run(root, f"of {root}", *load) == 0
        record = read_record(tmp_path / f"of {root}" / "result.json")
        assert record.test_images == 3 * len(names)
        log = (tmp_path / f"of {root}" / "log.txt").read_text(encoding="utf-8")
        assert "judged among 3 of the 3 classes that were trained, also ant hill" in log


def judged(root: Path, trained: list[str], subset: str = "all", **settings: Any) -> tuple[list[str], set[int]]:
    dataset = folder(root, subset=subset, TRAINED_CLASSES=tuple(trained), **settings)
    assert dataset.num_classes == len(dataset.classnames)
    assert [dataset.lab2cname[label] for label in range(dataset.num_classes)] == dataset.classnames
    assert all(dataset.classnames[item.label] == item.classname for item in dataset.test)
    return dataset.classnames, {item.label for item in dataset.test}


def test_among_which_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images(tmp_path / "test", numbered("n1", "n3", count=2))
    (tmp_path / "names.txt").write_text("n1 ant hill\nn3 cat")
    (tmp_path / "more.txt").write_text("n1 ant hill\nn2 bee\nn3 cat")
    trained = ["ant hill", "bee", "cat", "dog"]
    assert judged(tmp_path, ["n1", "n2", "n3"]) == (["n1", "n2", "n3"], {0, 2})
    # CLASSNAMES says otherwise, by what it names; SUBSAMPLE_CLASSES does too.
    assert judged(tmp_path, trained, CLASSNAMES="names.txt") == (["ant hill", "cat"], {0, 1})
    (tmp_path / "one.txt").write_text("n1 ant hill")  # a rename of one folder names no choice
    assert judged(tmp_path, ["ant hill", "n2", "n3"], CLASSNAMES="one.txt") == (["ant hill", "n2", "n3"], {0, 2})
    assert judged(tmp_path, ["N1", "n2", "N3"]) == (["n1", "n2", "n3"], {0, 2})  # CLIP reads no capitals
    assert judged(tmp_path, trained, CLASSNAMES="more.txt") == (["ant hill", "bee", "cat"], {0, 2})
    assert judged(tmp_path, ["n1", "n2", "n3"], "base") == (["n1"], {0})
    # None of them is new to the model, or all are.
    assert judged(tmp_path, ["n1", "n3"]) == (["n1", "n3"], {0, 1})
    assert judged(tmp_path, ["other"]) == (["n1", "n3"], {0, 1})
    assert "has not learned n1, n3" in caplog.text
    caplog.clear()
    assert judged(tmp_path, ["n1", "n2"]) == (["n1", "n3"], {0, 1})
    assert "the model has not learned n3: images are judged among the classes found here" in caplog.text


def test_one_class_alone_is_no_question(tmp_path: Path) -> None:
    images(tmp_path / "test", numbered("purple", count=3))
    with pytest.raises(CasPLError, match="there is one class, purple, among which every answer is right"):
        folder(tmp_path, TRAINED_CLASSES=("red", "blue"))
    assert judged(tmp_path, ["red", "purple"]) == (["red", "purple"], {1})


# What is no class, no image or no place ------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [("test",), ("train", "val"), ("train",)])
def test_train_and_test_are_no_classes_beside_another_folder(
    parts: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for part in parts:
        images(tmp_path / part, numbered("ant", "bee", count=4))
    images(tmp_path, ["extra/a.jpg", "extra/b.jpg"])
    if parts == ("test",):
        assert folder(tmp_path).classnames == ["ant", "bee"]
        assert f"{tmp_path} holds what is not used: extra" in caplog.messages
    else:
        assert "there are no test images" in refused(tmp_path)


def test_an_output_folder_with_pictures_is_none(tmp_path: Path) -> None:
    images(tmp_path, numbered("ant", "bee", count=4) + ["output/run/curve.png", "output/run/plot.png"])
    (tmp_path / "output" / "run" / "result.json").write_text("{}")
    assert folder(tmp_path).classnames == ["ant", "bee"]


def test_files_that_are_no_images_here_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images(tmp_path, numbered("ant", "bee", count=4))
    for name in ("ant/a.heic", "ant/b.heic", "bee/notes.txt", "bee/Thumbs.db", "bee/.hidden"):
        (tmp_path / name).write_bytes(b"")
    assert folder(tmp_path).classnames == ["ant", "bee"]
    assert f"{tmp_path} has files in its class folders that are not read as images: 2 .heic, 1 .txt" in caplog.messages


def test_pipes_folders_and_links_to_nothing(tmp_path: Path) -> None:
    images(tmp_path, numbered("ant", "bee", count=4))
    (tmp_path / "ant" / "folder.png").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "ant" / "pipe.png")
    assert sum(sizes(folder(tmp_path))) == 8
    (tmp_path / "bee" / "link.png").symlink_to(tmp_path / "nowhere.png")
    assert "link.png leads to nothing: mend or remove it" in refused(tmp_path)


def test_a_list_with_a_fault_is_a_list(tmp_path: Path) -> None:
    images(tmp_path, numbered("ant", "bee", count=4))
    rows(tmp_path / "labels.csv", ("path", "class"), ("ant/image_0001.jpg", "ant"), ("ant/image_0002.jpg", ""))
    assert "labels.csv, row 2: the column class is empty" in refused(tmp_path)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--output-dir", "ROOT"], "is the folder of the data: use another"),
        (["DATASET.FOLDER.TRAINED_CLASSES", "['ant']"], "DATASET.FOLDER.TRAINED_CLASSES is for --eval-only"),
        (["INPUT.SIZE", "(32,)"], "INPUT.SIZE holds 2 numbers, not (32,)"),
        (["OPTIM.STEPSIZE", "()"], "OPTIM.STEPSIZE holds at least one number, not ()"),
        (["OPTIM.STEPSIZE", "('a',)"], "OPTIM.STEPSIZE must be"),
        (["DATASET.TEMPLATE", "nothing"], "it is DATASET.TEMPLATE"),
    ],
)
def test_settings_that_no_run_can_have(
    words: list[str], sentence: str, clips: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images(tmp_path, numbered("ant", "bee", count=4))
    # fmt: off
    line = [
        "--root", str(tmp_path), "--trainer", "ZeroshotCLIP", "--seed", "1", "--backbone", clips["student"],
        "--dataset-config-file", str(REPO / "configs/datasets/folder.yaml"), "--output-dir", str(tmp_path / "out"),
        "INPUT.SIZE", "(32, 32)", "DATALOADER.NUM_WORKERS", "0",
        *(word.replace("ROOT", str(tmp_path)) for word in words),
    ]
    # fmt: on
    assert train.main(line) == 2
    assert sentence in capsys.readouterr().err
