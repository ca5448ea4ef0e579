"""Order and random numbers depend on seed, epoch and image alone, unless torch's own stream is wanted."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_toy import same
from input_photos import CROP, input_cfg, loader, photos
from torch.utils.data import DataLoader, RandomSampler, default_collate

from dassl.data import DataManager, DatasetWrapper, data_manager
from dassl.data.data_manager import build_data_loader
from dassl.data.datasets import Datum
from dassl.data.decode import read_tensor
from dassl.data.repeatable import Draw, RepeatableSampler, drawing
from dassl.data.samplers import RandomClassSampler, RandomDomainSampler
from dassl.data.tensor_wrapper import TensorWrapper
from dassl.data.transforms import build_transform
from dassl.engine.snapshot import random_state
from dassl.utils import set_random_seed

Batches = list[dict[str, Any]]
# Every generator is drawn from.
EVERYTHING = (*CROP, "cutout", "gaussian_noise", "colorjitter")


@pytest.fixture
def items(tmp_path: Path) -> list[Datum]:
    return photos(tmp_path / "photos", [(48, 40), (40, 48), (64, 40)] * 3 + [(40, 40)])


def passes(batches: DataLoader[Any], count: int = 2) -> Batches:
    return [batch for _ in range(count) for batch in batches]


def indices(batches: Batches) -> list[int]:
    return [index for batch in batches for index in batch["index"].tolist()]


VARIANTS: dict[str, dict[str, Any]] = {
    "published": {},
    "PIL": {"INPUT__BACKEND": "pil"},
    "PIL, every generator": {"INPUT__BACKEND": "pil", "INPUT__TRANSFORMS": (*EVERYTHING, "randaugment")},
    "every generator": {"INPUT__TRANSFORMS": EVERYTHING},
    "transforms of PIL": {"INPUT__TRANSFORMS": (*EVERYTHING, "randaugment", "random_translation")},
    "views": {"DATALOADER__K_TRANSFORMS": 2, "DATALOADER__RETURN_IMG0": True},
}


# Three workers may be more than the machine has cores.
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize("variant", VARIANTS)
def test_any_number_of_workers(variant: str, items: list[Datum]) -> None:
    found = []
    for workers in (0, 1, 3) if variant == "published" else (0, 1):
        # What was drawn before does not matter.
        set_random_seed(workers)
        cfg = input_cfg("tensor", **VARIANTS[variant], DATALOADER__NUM_WORKERS=workers)
        found.append(passes(loader(cfg, items)))
    assert all(same(found[0], other) for other in found[1:])
    assert len(found[0]) == 4


def test_epochs_passes_and_seeds_differ(items: list[Datum]) -> None:
    batches = loader(input_cfg("tensor"), items)
    sampler = batches.sampler
    assert isinstance(sampler, RepeatableSampler)
    first, second = list(batches), list(batches)
    sampler.set_epoch(1)
    third = list(batches)
    sampler.set_epoch(0)
    again = list(batches)
    assert same(first, again)
    orders = [indices(found) for found in (first, second, third)]
    assert len({tuple(order) for order in orders}) == 3
    other = list(loader(input_cfg("tensor", SEED=2), items))
    assert indices(other) != orders[0]
    unlabelled = list(loader(input_cfg("tensor"), items, role="unlabelled"))
    assert indices(unlabelled) != orders[0]


def test_labelled_and_unlabelled_images_draw_apart(make_cfg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build_dataset = data_manager.build_dataset

    def build(cfg: Any) -> Any:
        data = build_dataset(cfg)
        data._train_u = data.train_x
        return data

    monkeypatch.setattr(data_manager, "build_dataset", build)
    manager = DataManager(make_cfg("INPUT.BACKEND", "tensor"))
    assert manager.train_loader_u is not None
    assert indices(list(manager.train_loader_x)) != indices(list(manager.train_loader_u))


def test_an_image_draws_the_same_in_any_order(items: list[Datum]) -> None:
    cfg = input_cfg("tensor")

    def by_index(batches: DataLoader[Any]) -> dict[int, Any]:
        return {int(i): image for batch in batches for i, image in zip(batch["index"], batch["img"], strict=True)}

    shuffled = by_index(loader(cfg, items))
    in_order = by_index(loader(cfg, items, sampler="SequentialSampler"))
    both = shuffled.keys() & in_order.keys()  # of ten images the last two are dropped
    assert len(both) >= 6
    assert all(torch.equal(shuffled[index], in_order[index]) for index in both)
    assert all(not torch.equal(in_order[0], in_order[index]) for index in range(1, 8))


@pytest.mark.parametrize("sampler", ["RandomSampler", "RandomDomainSampler", "SeqDomainSampler", "RandomClassSampler"])
def test_every_sampler_repeats(sampler: str, items: list[Datum]) -> None:
    orders = []
    for seed in (1, 2):
        set_random_seed(seed)
        batches = loader(input_cfg("tensor"), items, sampler=sampler, n_domain=2, n_ins=2)
        orders.append([indices(list(batches)) for _ in range(3)])
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders[0]}) == 3


def test_an_index_that_comes_again_draws_anew(items: list[Datum]) -> None:
    sampler = RepeatableSampler([3, 1, 3, 3], seed=1)  # type: ignore[arg-type]
    seeds = [draw.seed for draw in sampler]  # type: ignore[attr-defined]
    assert len(set(seeds)) == 4
    sampler.set_epoch(0)
    assert [draw.seed for draw in sampler] == seeds  # type: ignore[attr-defined]
    # The first time it is as in a pass that has it once.
    once = RepeatableSampler([1, 3], seed=1)  # type: ignore[arg-type]
    assert [draw.seed for draw in once] == [seeds[1], seeds[0]]  # type: ignore[attr-defined]
    # The one image of a class fills its place in a batch.
    batches = loader(input_cfg("tensor"), items[:2], sampler="RandomClassSampler", n_ins=2)
    batch = next(iter(batches))
    assert len(set(batch["index"].tolist())) == 2
    assert len({image.numpy().tobytes() for image in batch["img"]}) == 4


def test_own_samplers_keep_their_lengths(items: list[Datum]) -> None:
    for inner in (RandomSampler(items), RandomDomainSampler(items, 4, 2), RandomClassSampler(items, 4, 2)):  # type: ignore[arg-type]
        assert len(RepeatableSampler(inner, 1)) == len(inner)


def test_global_generators_are_left_alone(items: list[Datum]) -> None:
    for names in (CROP, EVERYTHING):
        batches = loader(input_cfg("tensor", INPUT__TRANSFORMS=names), items)
        set_random_seed(5)
        expected = random_state()
        set_random_seed(5)
        list(batches)
        assert same(random_state(), expected)


def test_drawing_ends_with_an_error() -> None:
    set_random_seed(3)
    before = random_state()

    def fail() -> None:
        torch.rand(3)
        raise KeyError

    with pytest.raises(KeyError), drawing(7):
        fail()
    assert same(random_state(), before)


def test_without_a_seed_torchs_own_holds(items: list[Datum]) -> None:
    orders = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        orders.append(indices(list(loader(input_cfg("tensor", SEED=-1), items))))
    assert orders[0] == orders[1] != orders[2]


def test_draw_is_an_index_that_travels() -> None:
    draw = pickle.loads(pickle.dumps(Draw(3, seed=11)))
    assert (draw, draw.seed, [10, 20, 30, 40][draw]) == (3, 11, 40)


def test_plain_indices_draw_from_the_global_generators(items: list[Datum]) -> None:
    dataset = loader(input_cfg("tensor"), items).dataset
    set_random_seed(1)
    views = [dataset[0]["img"] for _ in range(3)]
    assert not torch.equal(views[0], views[1])
    set_random_seed(1)
    assert torch.equal(dataset[0]["img"], views[0])


def test_batches_are_their_items(items: list[Datum]) -> None:
    for settings in VARIANTS.values():
        batches = loader(input_cfg("tensor", **settings), items)
        first = next(iter(batches))
        batches.sampler.set_epoch(0)  # type: ignore[attr-defined]
        expected = default_collate([batches.dataset[draw] for draw in list(batches.sampler)[:4]])
        assert list(first) == list(expected)
        assert same(first, expected)
        assert first["index"].tolist() == expected["index"].tolist()


def test_wrapper_of_ones_own(items: list[Datum]) -> None:
    class Doubled(DatasetWrapper):
        def __getitem__(self, idx: int) -> dict[str, Any]:
            item = super().__getitem__(idx)
            return {**item, "twice": item["img"] * 2}

    cfg = input_cfg("tensor")
    plain, doubled = loader(cfg, items), loader(cfg, items, dataset_wrapper=Doubled)
    assert isinstance(plain.dataset, TensorWrapper)
    for a, b in zip(plain, doubled, strict=True):
        assert same(a, {key: value for key, value in b.items() if key != "twice"})
        assert torch.equal(b["twice"], 2 * a["img"])


def test_several_transforms(items: list[Datum]) -> None:
    cfg = input_cfg("tensor")
    transforms = [build_transform(cfg), build_transform(cfg, is_train=False)]
    for given, kind in ((transforms, TensorWrapper), ([*transforms, len], DatasetWrapper), (None, DatasetWrapper)):
        dataset = build_data_loader(cfg, "RandomSampler", items, 4, tfm=given).dataset
        assert type(dataset) is kind
    item = build_data_loader(cfg, "RandomSampler", items, 4, tfm=transforms).dataset[1]
    assert list(item) == ["label", "domain", "impath", "index", "img", "img2"]
    assert torch.equal(item["img2"], transforms[1](read_tensor(items[1].impath)))


def test_random_crops_of_tests_are_no_fixed_crops(items: list[Datum], tmp_path: Path) -> None:
    found = []
    for budget in (0, 10**6):
        cfg = input_cfg("tensor", DATALOADER__CACHE_BYTES=budget, DATALOADER__CACHE_DIR=str(tmp_path / "cache"))
        tfm = build_transform(cfg, is_train=True)
        found.append(passes(build_data_loader(cfg, "SequentialSampler", items, 4, tfm=tfm, is_train=False)))
    assert same(*found)
    assert not torch.equal(found[0][0]["img"], found[0][3]["img"])


def test_unseeded_loaders_of_pil_are_as_ever(items: list[Datum]) -> None:
    batches = loader(input_cfg("pil", DATALOADER__SEEDED=False), items)
    assert type(batches) is DataLoader
    assert type(batches.sampler) is RandomSampler
    assert type(batches.dataset) is DatasetWrapper
    assert batches.collate_fn is default_collate


def workers_of(batches: DataLoader[Any]) -> list[int]:
    """The processes that a pass has left behind."""
    list(batches)
    iterator: Any = batches._iterator
    return [worker.pid for worker in iterator._workers]


def test_workers_stay_from_epoch_to_epoch(items: list[Datum]) -> None:
    """And a pass that begins draws nothing that a resumed run would not draw."""
    cfg = input_cfg("pil", DATALOADER__NUM_WORKERS=1)
    batches = loader(cfg, items)
    before = torch.get_rng_state()
    assert workers_of(batches) == workers_of(batches)
    assert torch.equal(torch.get_rng_state(), before)
    plain = loader(input_cfg("pil", DATALOADER__NUM_WORKERS=1, DATALOADER__SEEDED=False), items)
    assert not plain.persistent_workers
