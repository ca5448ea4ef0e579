"""Items, loaders, samplers, the data manager."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils.data import RandomSampler, SequentialSampler

from dassl.data import DataManager, DatasetWrapper
from dassl.data.data_manager import build_data_loader
from dassl.data.datasets import Datum
from dassl.data.samplers import RandomClassSampler, RandomDomainSampler, build_sampler
from dassl.data.transforms import build_transform
from dassl.utils import set_random_seed


@pytest.fixture
def items(images: Any) -> list[Datum]:
    return [Datum(str(images / f"train_{i}.png"), label=i % 3, domain=i % 2, classname=f"c{i % 3}") for i in range(12)]


def test_item(make_cfg: Any, items: list[Datum]) -> None:
    cfg = make_cfg("DATALOADER.K_TRANSFORMS", 3, "DATALOADER.RETURN_IMG0", True)
    transform = build_transform(cfg)
    wrapper = DatasetWrapper(cfg, items, transform=[transform, transform], is_train=True)
    assert len(wrapper) == 12
    item = wrapper[5]
    assert list(item) == ["label", "domain", "impath", "index", "img", "img2", "img0"]
    assert (item["label"], item["domain"], item["impath"], item["index"]) == (2, 1, items[5].impath, 5)
    for key in ("img", "img2"):
        assert [view.shape for view in item[key]] == [(3, 32, 32)] * 3
    assert item["img0"].shape == (3, 32, 32)
    # Normalised, since the configuration says so.
    assert item["img0"].min() < 0


def test_k_transforms_are_for_training_only(make_cfg: Any, items: list[Datum]) -> None:
    cfg = make_cfg("DATALOADER.K_TRANSFORMS", 3)
    item = DatasetWrapper(cfg, items, transform=build_transform(cfg, is_train=False))[0]
    assert list(item) == ["label", "domain", "impath", "index", "img"]
    assert item["img"].shape == (3, 32, 32)
    with pytest.raises(ValueError, match="because transform is None"):
        DatasetWrapper(cfg, items, is_train=True)


def test_item_without_transform(make_cfg: Any, items: list[Datum]) -> None:
    image = DatasetWrapper(make_cfg(), items)[0]["img"]
    assert isinstance(image, Image.Image)
    assert (image.mode, image.size) == ("RGB", (48, 40))


def test_plain_image_without_normalisation(make_cfg: Any, items: list[Datum]) -> None:
    cfg = make_cfg("DATALOADER.RETURN_IMG0", True, "INPUT.TRANSFORMS", ())
    image = DatasetWrapper(cfg, items)[0]["img0"]
    assert 0 <= image.min() < image.max() <= 1


def test_collated_batch(make_cfg: Any, items: list[Datum]) -> None:
    cfg = make_cfg()
    loader = build_data_loader(
        cfg, data_source=items, batch_size=5, tfm=build_transform(cfg, is_train=False), is_train=False
    )
    batches = list(loader)
    assert [len(batch["impath"]) for batch in batches] == [5, 5, 2]
    batch = batches[0]
    assert batch["index"].tolist() == [0, 1, 2, 3, 4]
    assert batch["label"].dtype == batch["domain"].dtype == batch["index"].dtype == torch.int64
    assert (batch["img"].shape, batch["img"].dtype) == ((5, 3, 32, 32), torch.float32)


def test_published_order(make_cfg: Any, items: list[Datum]) -> None:
    cfg = make_cfg("INPUT.SIZE", (224, 224), "DATALOADER.SEEDED", False)
    transform = build_transform(cfg)
    # The published case has images of 40 x 40; the crops draw from the same generator as the order does.
    square: Any = [SimpleNamespace(**{name: getattr(item, name) for name in ("label", "domain")}) for item in items]
    for number, item in enumerate(square):
        item.impath = str(cfg.OUTPUT_DIR) + f"_{number}.png"
        Image.new("RGB", (40, 40)).save(item.impath)
    set_random_seed(1)
    loader = build_data_loader(
        cfg,
        sampler_type="RandomSampler",
        data_source=square,
        batch_size=5,
        tfm=transform,
    )
    orders = [[batch["index"].tolist() for batch in loader] for _ in range(2)]
    assert orders == [[[6, 5, 10, 9, 8], [1, 7, 2, 0, 3]], [[5, 7, 8, 3, 11], [9, 10, 6, 1, 0]]]


def test_drop_last_rule(make_cfg: Any, items: list[Datum]) -> None:
    cfg = make_cfg()
    transform = build_transform(cfg)

    def sizes(count: int, is_train: bool) -> list[int]:
        loader = build_data_loader(cfg, data_source=items[:count], batch_size=5, tfm=transform, is_train=is_train)
        return [len(batch["label"]) for batch in loader]

    assert sizes(3, is_train=True) == [3]
    assert sizes(12, is_train=True) == [5, 5]
    assert sizes(12, is_train=False) == [5, 5, 2]


def test_loader_refusals(make_cfg: Any, items: list[Datum]) -> None:
    with pytest.raises(ValueError, match="Unknown sampler type: Sorted"):
        build_data_loader(make_cfg(), sampler_type="Sorted", data_source=items)
    with pytest.raises(AssertionError, match="no image"):
        build_data_loader(make_cfg(), data_source=[])


def test_loader_wraps_with_the_given_class(make_cfg: Any, items: list[Datum]) -> None:
    class Wrapper(DatasetWrapper):
        def __getitem__(self, idx: int) -> dict[str, Any]:
            return {"index": idx, "train": self.is_train}

    loader = build_data_loader(make_cfg(), data_source=items, batch_size=12, dataset_wrapper=Wrapper)
    batch = next(iter(loader))
    assert batch["index"].tolist() == list(range(12))
    assert batch["train"].all()


def test_plain_samplers(items: list[Datum]) -> None:
    assert isinstance(build_sampler("RandomSampler", data_source=items), RandomSampler)
    assert isinstance(build_sampler("SequentialSampler", data_source=items), SequentialSampler)


def test_random_domain_sampler() -> None:
    source: Any = [SimpleNamespace(domain=i % 3) for i in range(30)]
    random.seed(0)
    sampler = RandomDomainSampler(source, 4, 2)
    order = list(sampler)
    assert len(order) == len(set(order))
    assert len(order) % 4 == 0
    for start in range(0, len(order), 4):
        domains = [source[index].domain for index in order[start : start + 4]]
        assert domains[0] == domains[1] != domains[2] == domains[3]
    # Ends as soon as a domain of the batch is short of images.
    counts = [sum(source[index].domain == domain for index in order) for domain in range(3)]
    assert max(counts) == 10
    assert RandomDomainSampler(source, 6, 0).n_domain == 3
    with pytest.raises(AssertionError, match="no multiple"):
        RandomDomainSampler(source, 5, 2)


def test_seq_domain_sampler() -> None:
    source: Any = [SimpleNamespace(domain=2 - i % 3) for i in range(12)]
    sampler: Any = build_sampler("SeqDomainSampler", data_source=source, batch_size=6)
    domains = [source[index].domain for index in sampler]
    assert domains == [0, 0, 1, 1, 2, 2] * 2
    assert len(sampler) == 12


def test_random_class_sampler() -> None:
    source: Any = [SimpleNamespace(label=i % 3) for i in range(12)]
    set_random_seed(1)
    sampler = RandomClassSampler(source, 4, 2)
    # The published case: the length is an estimate, made by a pass of its own.
    assert (len(sampler), len(list(sampler))) == (12, 8)
    order = list(sampler)
    assert len(order) == len(set(order))
    for start in range(0, len(order), 4):
        labels = [source[index].label for index in order[start : start + 4]]
        assert labels[0] == labels[1] != labels[2] == labels[3]
    with pytest.raises(ValueError, match="no less than"):
        RandomClassSampler(source, 1, 2)
    with pytest.raises(AssertionError, match="needs 4 classes"):
        RandomClassSampler(source, 8, 2)


def test_class_sampler_repeats_rare_images() -> None:
    source: Any = [SimpleNamespace(label=label) for label in (0, 1, 1, 1, 1)]
    order = list(RandomClassSampler(source, 8, 4))
    assert sorted(source[index].label for index in order) == [0] * 4 + [1] * 4
    assert order.count(0) == 4


def test_data_manager(make_cfg: Any, capsys: pytest.CaptureFixture[str]) -> None:
    manager = DataManager(make_cfg("DATASET.SOURCE_DOMAINS", ("a", "b")))
    assert (len(manager.train_loader_x), len(manager.test_loader)) == (5, 1)
    assert manager.train_loader_u is None
    assert manager.val_loader is not None
    assert (manager.num_classes, manager.num_source_domains) == (4, 2)
    assert manager.lab2cname == {0: "c0", 1: "c1", 2: "c2", 3: "c3"}
    assert manager.dataset.classnames == ["c0", "c1", "c2", "c3"]
    out = capsys.readouterr().out
    assert out.startswith("Loading dataset: ToyData\nBuilding transform_train\n")
    assert out.endswith(
        "---------  ----------\n"
        "Dataset    ToyData\n"
        "Source     ('a', 'b')\n"
        "# classes  4\n"
        "# train_x  20\n"
        "# val      8\n"
        "# test     12\n"
        "---------  ----------\n"
    )


def test_data_manager_with_little(make_cfg: Any, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    from dassl.data import data_manager

    def build(cfg: Any) -> Any:
        data = data_manager_build(cfg)
        data._val, data._train_u = None, data.train_x
        return data

    data_manager_build = data_manager.build_dataset
    monkeypatch.setattr(data_manager, "build_dataset", build)
    cfg = make_cfg("VERBOSE", False, "DATALOADER.TRAIN_U.SAME_AS_X", False, "DATALOADER.TRAIN_U.BATCH_SIZE", 10)
    manager = DataManager(cfg, custom_tfm_train=len, custom_tfm_test=len)
    assert manager.val_loader is None
    assert manager.train_loader_u is not None
    assert len(manager.train_loader_u) == 2
    assert capsys.readouterr().out == ("* Using custom transform for training\n* Using custom transform for testing\n")
