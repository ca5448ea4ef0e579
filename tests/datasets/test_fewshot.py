"""Few-shot samples: the published draw, the cache, the caches of other repositories."""

from __future__ import annotations

import json
import pickle
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from caspl.data import Entry, Split
from caspl.errors import CasPLError
from dassl.data.datasets import Datum
from datasets.protocol.fewshot import few_shots
from tests.datasets.conftest import Load
from tests.datasets.digits import write_eurosat_digits
from tests.datasets.made import NAMES, draw, made_split, positions

# Computed with the published sampler, Python 3.7 to 3.13: 30 and 15 items whose labels are i % 3, seed 1, 4 shots.
TRAIN_SEED_1 = [6, 3, 12, 0, 22, 28, 25, 16, 20, 11, 5, 26]
VAL_SEED_1 = [0, 9, 3, 12, 10, 7, 13, 1, 14, 2, 5, 11]


def sampled(split: Split, folder: Path, shots: int = 4, seed: int = 1, **options: Any) -> Split:
    return few_shots(split, shots, seed, folder, draw, **options)


def refuse(items: list[Entry], shots: int) -> list[Entry]:
    pytest.fail("the sample should have been read")


def test_published_sample(tmp_path: Path) -> None:
    split = sampled(made_split(), tmp_path)
    assert positions(split.train) == TRAIN_SEED_1
    assert positions(split.val) == VAL_SEED_1


def test_published_sample_through_a_data_set(load: Load, tmp_path: Path) -> None:
    split = made_split()
    folder = write_eurosat_digits(tmp_path, per_class=1)
    for entry in (*split.train, *split.val, *split.test):
        path = folder / "2750" / entry.path
        path.parent.mkdir(exist_ok=True)
        path.touch()
    lists = {"train": split.train, "val": split.val, "test": split.test}
    (folder / "split_zhou_EuroSAT.json").write_text(json.dumps(lists))
    dataset = load("EuroSAT", shots=4)
    assert [item.impath for item in dataset.train_x] == [
        str(folder / "2750" / split.train[position].path) for position in TRAIN_SEED_1
    ]
    assert [int(Path(item.impath).stem[1:]) for item in dataset.val] == VAL_SEED_1


@pytest.mark.parametrize("seed", [0, 3])
def test_the_sample_depends_on_its_seed_alone(seed: int, tmp_path: Path) -> None:
    first = sampled(made_split(), tmp_path / "a", seed=seed)
    random.seed(77)
    state = random.getstate()
    second = sampled(made_split(), tmp_path / "b", seed=seed)
    assert random.getstate() == state
    assert first == second
    assert positions(first.train) != TRAIN_SEED_1


def test_seed_0_is_kept_as_any_other(tmp_path: Path) -> None:
    sampled(made_split(), tmp_path, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["shot_4-seed_0.json"]


def test_without_a_seed_the_sample_is_fresh_and_not_kept(tmp_path: Path) -> None:
    random.seed(1)
    first, second = (sampled(made_split(), tmp_path / "samples", seed=-1) for _ in range(2))
    assert positions(first.train) == TRAIN_SEED_1
    assert first != second
    assert not (tmp_path / "samples").exists()


@pytest.mark.parametrize(("shots", "val"), [(1, 1), (2, 2), (4, 4), (5, 4)])
def test_val_has_at_most_four(shots: int, val: int, tmp_path: Path) -> None:
    split = sampled(made_split(), tmp_path, shots=shots)
    assert (len(split.train), len(split.val)) == (3 * shots, 3 * val)


def test_no_shots_means_everything(tmp_path: Path) -> None:
    split = made_split()
    assert sampled(split, tmp_path / "samples", shots=-1) is split
    assert not (tmp_path / "samples").exists()


def test_val_may_stay_whole(tmp_path: Path) -> None:
    split = made_split()
    assert sampled(split, tmp_path, sample_val=False).val == split.val


def test_kept_sample_is_read(tmp_path: Path) -> None:
    first = sampled(made_split(), tmp_path)
    assert few_shots(made_split(), 4, 1, tmp_path, refuse) == first
    kept = json.loads((tmp_path / "shot_4-seed_1.json").read_text())
    assert kept["train"] == [f"{NAMES[index % 3]}/{index}.jpg" for index in TRAIN_SEED_1]


def test_sample_of_another_split_is_drawn_anew(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    sampled(made_split(), tmp_path)
    split = made_split(train=8)
    assert {entry.path for entry in sampled(split, tmp_path).train} <= {entry.path for entry in split.train}
    assert "belongs to another split" in log.text
    assert few_shots(split, 4, 1, tmp_path, refuse)


def test_names_may_change_without_a_new_sample(tmp_path: Path) -> None:
    sampled(made_split(), tmp_path)
    split = made_split()
    renamed = replace(split, train=[entry._replace(classname=entry.classname.upper()) for entry in split.train])
    assert {entry.classname for entry in few_shots(renamed, 4, 1, tmp_path, refuse).train} == {"ANT", "BEE", "COW"}


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"split": "DIGEST"}', '{"split": "DIGEST", "train": [1]}'])
def test_damaged_sample_is_drawn_anew(content: str, tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "shot_4-seed_1.json"
    path.write_text(content.replace("DIGEST", made_split().digest()))
    assert positions(sampled(made_split(), tmp_path).train) == TRAIN_SEED_1
    assert "drawn anew" in log.text
    assert json.loads(path.read_text())["split"] == made_split().digest()


@pytest.mark.parametrize("fault", ["twice", "one less", "a class less", "another class"])
@pytest.mark.parametrize("kind", ["json", "pkl"])
def test_a_kept_sample_that_is_none_is_drawn_anew(
    fault: str, kind: str, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    """Of this very split, but not four images of each class."""
    split = made_split()
    train = sampled(split, tmp_path / "right").train
    for place, entry in enumerate(list(train)):
        if fault == "one less" and place == 0:
            train.remove(entry)
        elif fault == "twice" and place == 1:
            train[0] = entry
        elif fault == "a class less" and entry.label == 2:
            train.remove(entry)
    if fault == "another class":
        train[0] = next(entry for entry in split.train if entry.label != train[0].label and entry not in train)
    sample = replace(split, train=train, val=sampled(split, tmp_path / "right").val)
    path = tmp_path / f"shot_4-seed_1.{kind}"
    if kind == "json":
        paths = {name: [entry.path for entry in getattr(sample, name)] for name in ("train", "val")}
        path.write_text(json.dumps({"split": split.digest(), **paths}))
    else:
        write_pickle(path, sample, "/data/")
    assert positions(sampled(split, tmp_path).train) == TRAIN_SEED_1
    assert "drawn anew" in log.text


def test_more_shots_than_there_are(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    split = sampled(made_split(), tmp_path, shots=10**6)
    assert len(split.train) == 30
    said = "3 of 3 classes have fewer than 1000000 training images and give all they have: ant 10, bee 10, cow 10"
    assert said in log.messages


def test_a_folder_that_cannot_be_written_costs_only_the_cache(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "split_fewshot"
    blocked.write_text("a file where the folder should be")
    assert positions(sampled(made_split(), blocked).train) == TRAIN_SEED_1
    assert "not kept" in log.text


def old_item(path: str, label: int) -> Datum:
    item = Datum.__new__(Datum)
    vars(item).update(_impath=path, _label=label, _domain=0, _classname="as it was")
    return item


def write_pickle(path: Path, sample: Split, prefix: str) -> None:
    pickled = {
        name: [old_item(f"{prefix}{entry.path}", entry.label) for entry in items]
        for name, items in (("train", sample.train), ("val", sample.val))
    }
    path.write_bytes(pickle.dumps(pickled, protocol=pickle.HIGHEST_PROTOCOL))


def old_sample(folder: Path, root: str, extra: str = "") -> Split:
    """Leave the pickle of a CoOp-style repository, of other images than seed 1 gives; returns what it holds."""
    split = made_split()
    kept = replace(split, train=split.train[:12], val=split.val[3:15])
    write_pickle(folder / "shot_4-seed_1.pkl", kept, f"{root}/{extra}")
    return kept


@pytest.mark.parametrize("root", ["/somebody/else/data", "C:\\data", "relative"])
def test_pickled_sample_of_another_machine(root: str, tmp_path: Path) -> None:
    expected = old_sample(tmp_path, root)
    assert few_shots(made_split(), 4, 1, tmp_path, refuse) == expected
    (tmp_path / "shot_4-seed_1.pkl").unlink()
    assert few_shots(made_split(), 4, 1, tmp_path, refuse) == expected


def test_pickled_sample_of_other_images_is_drawn_anew(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    old_sample(tmp_path, "/data", extra="un")
    assert positions(sampled(made_split(), tmp_path).train) == TRAIN_SEED_1
    assert "does not fit" in log.text


class Malicious:
    """Runs a command where it is unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_malicious_pickle_is_refused(tmp_path: Path) -> None:
    victim = tmp_path / "owned"
    content = pickle.dumps({"train": [Malicious(victim)], "val": []})
    (tmp_path / "shot_4-seed_1.pkl").write_bytes(content)
    with pytest.raises(CasPLError, match=r"shot_4-seed_1\.pkl is refused .*delete it"):
        sampled(made_split(), tmp_path)
    assert not victim.exists()
    pickle.loads(content)  # the file would have done it
    assert victim.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({"train": [eval]}),
        pickle.dumps({"train": ["a.jpg"], "val": []}),
        pickle.dumps({"train": [Path("a.jpg")], "val": []}),
    ],
    ids=["empty", "text", "list", "eval", "strings", "other class"],
)
def test_other_pickles_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "shot_4-seed_1.pkl").write_bytes(content)
    with pytest.raises(CasPLError, match="is refused"):
        sampled(made_split(), tmp_path)
