"""Image records, containers, few-shot samples, seeds."""

from __future__ import annotations

import pickle
import random
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from dassl.data.datasets import DatasetBase, Datum
from dassl.utils import set_random_seed


def fake_items(labels: list[int]) -> list[Any]:
    return [SimpleNamespace(label=label, index=index) for index, label in enumerate(labels)]


def indices(items: Any) -> list[int]:
    return [item.index for item in items]


@pytest.fixture
def base(tmp_path: Path) -> DatasetBase:
    (tmp_path / "a.png").touch()
    return DatasetBase(train_x=[Datum(str(tmp_path / "a.png"), 0, 0, "a")])


def test_datum(images: Path) -> None:
    item = Datum(impath=str(images / "train_0.png"), label=3, domain=1, classname="c")
    assert (item.label, item.domain, item.classname) == (3, 1, "c")
    assert item.impath == str(images / "train_0.png")
    for name in ("impath", "label", "domain", "classname"):
        with pytest.raises(AttributeError):
            setattr(item, name, None)


def test_datum_of_a_missing_file() -> None:
    with (
        pytest.warns(UserWarning, match='No file found at "/nowhere/a.png"'),
        pytest.raises(AssertionError, match="/nowhere/a.png"),
    ):
        Datum("/nowhere/a.png")
    with pytest.raises(AssertionError, match="impath must be a string"):
        Datum(Path("/nowhere"))  # type: ignore[arg-type]


def test_pickles_of_samples(images: Path) -> None:
    item = Datum(impath=str(images / "train_0.png"), label=3, domain=1, classname="c")
    data = pickle.dumps({"train": [item], "val": []}, protocol=pickle.HIGHEST_PROTOCOL)
    assert b"dassl.data.datasets.base_dataset" in data
    assert vars(item) == {"_impath": item.impath, "_label": 3, "_domain": 1, "_classname": "c"}
    # As the original writes it (protocol 0 for legibility), with a path that does not exist here.
    published = (
        b"ccopy_reg\n_reconstructor\n(cdassl.data.datasets.base_dataset\nDatum\nc__builtin__\nobject\nNtR"
        b"(dV_impath\nV/gone/a.jpg\nsV_label\nI5\nsV_domain\nI0\nsV_classname\nVforest\nsb."
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = pickle.loads(published)
    assert (loaded.impath, loaded.label, loaded.domain, loaded.classname) == ("/gone/a.jpg", 5, 0, "forest")


def test_classes_follow_from_train_x(images: Path) -> None:
    path = str(images / "train_0.png")
    train = [Datum(path, label, 0, name) for label, name in ((5, "z"), (2, "y"), (5, "z"))]
    data = DatasetBase(train_x=train, test=[Datum(path, 7, 0, "t")])
    assert data.num_classes == 6
    assert data.lab2cname == {5: "z", 2: "y"}
    assert data.classnames == ["y", "z"]
    assert (data.train_x, data.train_u, data.val) == (train, None, None)
    assert data.test is not None
    assert data.test[0].label == 7
    with pytest.raises(AttributeError):
        data.train_x = []  # type: ignore[misc]
    with pytest.raises(TypeError, match="train_x"):
        DatasetBase(test=train)


def test_domains(base: DatasetBase) -> None:
    base.domains = ["art", "photo"]
    base.check_input_domains(["art"], ["photo"])
    with pytest.raises(AssertionError, match="target_domains"):
        base.check_input_domains(["art"], [])
    with pytest.raises(ValueError, match="Input domain must belong to"):
        base.check_input_domains(["art"], ["clipart"])


def test_groups_in_order_of_first_appearance(base: DatasetBase) -> None:
    items = fake_items([2, 0, 2, 1])
    assert {label: indices(group) for label, group in base.split_dataset_by_label(items).items()} == {
        2: [0, 2], 0: [1], 1: [3],
    }  # fmt: skip
    assert list(base.split_dataset_by_label(items)) == [2, 0, 1]
    domains: Any = [SimpleNamespace(domain=domain) for domain in (1, 0, 1)]
    assert list(base.split_dataset_by_domain(domains)) == [1, 0]


def test_published_samples(base: DatasetBase, capsys: pytest.CaptureFixture[str]) -> None:
    train, val = fake_items([i % 3 for i in range(30)]), fake_items([i % 3 for i in range(15)])
    state = []
    set_random_seed(1)
    sample: Any = base.generate_fewshot_dataset(train, num_shots=4)
    assert indices(sample) == [6, 3, 12, 0, 22, 28, 25, 16, 20, 11, 5, 26]
    sample = base.generate_fewshot_dataset(val, num_shots=4)
    assert indices(sample) == [0, 9, 3, 12, 10, 7, 13, 1, 14, 2, 5, 11]
    assert capsys.readouterr().out == "Creating a 4-shot dataset\n" * 2
    state.append(random.getstate())

    both: Any = base.generate_fewshot_dataset(train, val, num_shots=1)
    assert [indices(sample) for sample in both] == [[0, 1, 26], [0, 10, 5]]

    random.setstate(state[0])
    few = fake_items([0, 0, 1, 1, 1, 1, 1])
    sample = base.generate_fewshot_dataset(few, num_shots=3)
    assert indices(sample) == [0, 1, 2, 6, 4]
    sample = base.generate_fewshot_dataset(few, num_shots=3, repeat=True)
    assert indices(sample) == [1, 1, 0, 3, 5, 4]


def test_a_class_of_exactly_that_size_is_drawn_too(base: DatasetBase) -> None:
    items = fake_items([0] * 6)
    random.seed(2)
    sample: Any = base.generate_fewshot_dataset(items, num_shots=6)
    assert indices(sample) == random.Random(2).sample(range(6), 6) != list(range(6))


def test_no_sampling_below_one_shot(base: DatasetBase, capsys: pytest.CaptureFixture[str]) -> None:
    train, val = fake_items([0, 1]), fake_items([1])
    assert base.generate_fewshot_dataset(train, num_shots=0) is train
    both = base.generate_fewshot_dataset(train, val)
    assert isinstance(both, tuple)
    assert both[0] is train
    assert both[1] is val
    assert capsys.readouterr().out == ""


def test_one_seed_for_all_generators() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), torch.rand(1).item()

    set_random_seed(3)
    first = draw()
    assert draw() != first
    set_random_seed(3)
    assert draw() == first
    assert first[0] == random.Random(3).random()
    assert first[1] == np.random.RandomState(3).rand()
    assert first[2] == torch.rand(1, generator=torch.Generator().manual_seed(3)).item()


def test_download_needs_google_drive(base: DatasetBase, tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError, match="Google Drive"):
        base.download_data("https://x", str(tmp_path / "new" / "a.zip"), from_gdrive=False)
    assert (tmp_path / "new").is_dir()


def test_download_extracts_beside(
    base: DatasetBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys
    import zipfile

    def download(url: str, dst: str, quiet: bool) -> None:
        with zipfile.ZipFile(dst, "w") as archive:
            archive.writestr("inner/a.txt", "hello")

    monkeypatch.setitem(sys.modules, "gdown", SimpleNamespace(download=download))
    base.download_data("https://x", str(tmp_path / "new" / "a.zip"))
    assert (tmp_path / "new" / "inner" / "a.txt").read_text() == "hello"
    assert capsys.readouterr().out == f"Extracting file ...\nFile extracted to {tmp_path / 'new'}\n"
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(ImportError, match="pip install gdown"):
        base.download_data("https://x", str(tmp_path / "a.zip"))
