"""Split files, the rules that make splits, base and new."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from caspl.data import Entry, read_split, write_split
from caspl.errors import CasPLError
from datasets.protocol import hold_out_val, split_by_ratio
from datasets.protocol.subset import select_classes
from tests.datasets.made import entries, made_split


def test_written_as_published(tmp_path: Path) -> None:
    split = made_split(classes=1, train=1, val=0, test=1)
    write_split(tmp_path / "split.json", split)
    item = '        [\n            "ant/{}.jpg",\n            0,\n            "ant"\n        ]\n    '
    expected = f'{{\n    "train": [\n{item.format(0)}],\n    "val": [],\n    "test": [\n{item.format("t0")}]\n}}'
    assert (tmp_path / "split.json").read_bytes() == expected.encode()


def test_round_trip_keeps_order_and_origin(tmp_path: Path) -> None:
    split = split_by_ratio(entries([2, 0, 1] * 10))
    assert split.origin
    write_split(tmp_path / "split.json", split)
    assert read_split(tmp_path / "split.json") == split


ITEM = ["ant/1.jpg", 0, "ant"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ([], "must be a JSON object"),
        ({"train": [ITEM], "val": []}, "lists train, test and perhaps val"),
        ({"train": [ITEM], "val": [], "test": []}, "test holds no image"),
        ({"train": [], "val": [], "test": [ITEM]}, "train holds no image"),
        ({"train": [[*ITEM, 1]], "val": [], "test": [ITEM]}, r'\["ant/1.jpg", 0, "ant", 1\] is no \[path'),
        ({"train": [["a.jpg", "0", "ant"]], "val": [], "test": [ITEM]}, "is no"),
        ({"train": [["a.jpg", True, "ant"]], "val": [], "test": [ITEM]}, "is no"),
        ({"train": [["/data/a.jpg", 0, "ant"]], "val": [], "test": [ITEM]}, "relative to the image folder"),
        ({"train": [ITEM, ["b.jpg", 2, "bee"]], "val": [], "test": [ITEM]}, r"0\.\.1, but 1 is missing"),
        ({"train": [ITEM, ["b.jpg", 0, "bee"]], "val": [], "test": [ITEM]}, "0 stands for both 'ant' and 'bee'"),
        ({"train": [ITEM], "val": [], "test": [["b.jpg", 0, "bee"]]}, "0 stands for both"),
        ({"train": [ITEM], "val": [["b.jpg", 1, "bee"]], "test": [ITEM]}, "b.jpg in val has the label 1"),
        ({"train": [ITEM, ["b.jpg", 1, "bee"], ["ant/1.jpg", 1, "bee"]], "val": [], "test": [ITEM]}, "both 0 and 1"),
    ],
)
def test_broken_split_file(content: Any, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "split_zhou_Broken.json"
    path.write_text(json.dumps(content))
    with pytest.raises(CasPLError, match=complaint) as caught:
        read_split(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"<html>quota exceeded</html>"])
def test_no_json(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "split.json").write_bytes(content)
    with pytest.raises(CasPLError, match="cannot be read") as caught:
        read_split(tmp_path / "split.json")
    assert caught.value.__cause__ is not None


def test_extra_keys_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": [ITEM], "val": [], "test": [ITEM], "meta": {"version": 2}}))
    assert read_split(path).train == [Entry("ant/1.jpg", 0, "ant")]


# Published counts of Caltech101 and Flowers follow Python's rounding of halves to even: 45 -> 22 / 9 / 14.
@pytest.mark.parametrize(
    ("images", "expected"), [(4, (2, 1, 1)), (31, (16, 6, 9)), (45, (22, 9, 14)), (47, (24, 9, 14)), (75, (38, 15, 22))]
)
def test_rule_a_counts(images: int, expected: tuple[int, int, int]) -> None:
    split = split_by_ratio(entries([0] * images))
    assert (len(split.train), len(split.val), len(split.test)) == expected


@pytest.mark.parametrize("images", [1, 2, 3])
def test_rule_a_refuses_small_classes(images: int) -> None:
    with pytest.raises(CasPLError, match=f"the class 'bee' has {images} images"):
        split_by_ratio([*entries([0] * 10), *entries([1] * images)])


@pytest.mark.parametrize(("images", "val"), [(1, 0), (2, 0), (3, 1), (10, 2), (12, 2), (13, 3), (25, 5)])
def test_rule_b_counts(images: int, val: int) -> None:
    test = entries([0], "t")
    split = hold_out_val(entries([0] * images), test)
    assert (len(split.train), len(split.val)) == (images - val, val)
    assert split.test == test


def test_rules_lose_nothing_and_group_by_first_appearance() -> None:
    everything = entries([3, 1, 0, 2, 4] * 20)
    split = split_by_ratio(everything)
    assert sorted([*split.train, *split.val, *split.test]) == sorted(everything)
    for part in (split.train, split.val, split.test):
        assert list(dict.fromkeys(entry.label for entry in part)) == [3, 1, 0, 2, 4]
        assert len(set(Counter(entry.label for entry in part).values())) == 1


def test_rules_shuffle_but_not_by_the_global_generator() -> None:
    random.seed(5)
    first = split_by_ratio(entries([0] * 20))
    random.seed(6)
    state = random.getstate()
    assert split_by_ratio(entries([0] * 20)) == first
    assert random.getstate() == state
    assert first.train != entries([0] * 20)[:10]


@pytest.mark.parametrize(("classes", "half"), [(2, 1), (3, 2), (4, 2), (5, 3)])
def test_base_and_new(classes: int, half: int) -> None:
    split = made_split(classes)
    base, new = select_classes(split, "base"), select_classes(split, "new")
    for name in ("train", "val", "test"):
        every = getattr(split, name)
        assert getattr(base, name) == [entry for entry in every if entry.label < half]
        assert getattr(new, name) == [
            entry._replace(label=entry.label - half) for entry in every if entry.label >= half
        ]
    assert select_classes(split, "all") is split


def test_subsets_that_do_not_exist() -> None:
    with pytest.raises(CasPLError, match="all, base, new, not 'novel'"):
        select_classes(made_split(), "novel")
    with pytest.raises(CasPLError, match="no new classes"):
        select_classes(made_split(classes=1), "new")
