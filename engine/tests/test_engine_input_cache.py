"""The cache of decoded images: the same pixels, made once, never trusted blindly."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from input_photos import input_cfg, loader, photo, photos

from dassl.data import cache as cache_module
from dassl.data import pixels as pixels_module
from dassl.data.cache import ImageCache, open_cache
from dassl.data.datasets import Datum
from dassl.data.decode import read_tensor
from dassl.engine.snapshot import random_state
from dassl.utils.tools import ImageError

SIZES = [(48, 40), (40, 48), (64, 40), (40, 40), (50, 60), (33, 47)]
WHOLE = 3 * sum(width * height for width, height in SIZES)


@pytest.fixture
def items(tmp_path: Path) -> list[Datum]:
    return photos(tmp_path / "photos", SIZES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def cached_cfg(folder: Path, **settings: Any) -> Any:
    settings = {"DATALOADER__CACHE_BYTES": 10**6, **settings}
    return input_cfg("tensor", DATALOADER__CACHE_DIR=str(folder), **settings)


def images(batches: Any) -> torch.Tensor:
    return torch.cat([batch["img"] for batch in batches])


def opened(folder: Path, items: list[Datum], budget: int = 10**6) -> ImageCache | None:
    return open_cache(folder, budget, [item.impath for item in items], "whole images", read_tensor)


def holds(cache: ImageCache | None, items: list[Datum]) -> bool:
    """Whether a cache has these images' pixels as the files are now."""
    assert cache is not None
    assert 0 < len(cache) <= len(items)
    return all(same(cache[i], read_tensor(items[i].impath)) for i in range(len(cache)))


def same(found: torch.Tensor | None, expected: torch.Tensor) -> bool:
    return found is not None and torch.equal(found, expected)


def names(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir())


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("train", [True, False])
def test_exact(train: bool, workers: int, items: list[Datum], folder: Path) -> None:
    plain = images(loader(input_cfg("tensor"), items, train))
    cfg = cached_cfg(folder, DATALOADER__NUM_WORKERS=workers)
    for _ in range(2):  # made, then found
        batches = loader(cfg, items, train)
        assert torch.equal(images(batches), plain)
        assert batches.dataset.pixels.cache is not None  # type: ignore[attr-defined]
    assert names(folder) == [".json", ".u8"]
    size = next(folder.glob("*.u8")).stat().st_size
    # In tests the crops are kept, in training the images.
    assert size == (WHOLE if train else 6 * 3 * 32 * 32)


def test_nothing_is_decoded_twice(items: list[Datum], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = cached_cfg(folder)
    expected = images(loader(cfg, items, train=False))

    def refuse(path: str) -> torch.Tensor:
        raise AssertionError(path)

    monkeypatch.setattr(pixels_module, "read_tensor", refuse)
    assert torch.equal(images(loader(cfg, items, train=False)), expected)


def test_made_when_first_asked_for(items: list[Datum], folder: Path) -> None:
    batches = loader(cached_cfg(folder), items)
    assert not folder.exists()
    before = random_state()["torch"]
    batches.dataset.open_cache()  # type: ignore[attr-defined]
    assert folder.exists()
    # Making it is no draw: a run that finds one sees the same random numbers.
    assert torch.equal(random_state()["torch"], before)


def test_views_and_plain_images_come_from_whole_images(items: list[Datum], folder: Path) -> None:
    settings = {"DATALOADER__RETURN_IMG0": True}
    plain = list(loader(input_cfg("tensor", **settings), items, train=False))
    cached = list(loader(cached_cfg(folder, **settings), items, train=False))
    for key in ("img", "img0"):
        assert all(torch.equal(a[key], b[key]) for a, b in zip(plain, cached, strict=True))
    assert next(folder.glob("*.u8")).stat().st_size == WHOLE


def test_each_rule_has_its_cache(items: list[Datum], folder: Path) -> None:
    for settings in ({}, {"INPUT__SIZE": (24, 24)}, {"INPUT__INTERPOLATION": "bilinear"}):
        plain = images(loader(input_cfg("tensor", **settings), items, train=False))
        assert torch.equal(images(loader(cached_cfg(folder, **settings), items, train=False)), plain)
    images(loader(cached_cfg(folder), items[::-1], train=False))
    assert names(folder) == [".json"] * 4 + [".u8"] * 4


@pytest.mark.parametrize("change", ["size", "time"])
def test_changed_images(change: str, items: list[Datum], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert holds(opened(folder, items), items)
    path = Path(items[2].impath)
    if change == "size":
        photo(30, 30, seed=9).save(path)
    else:
        os.utime(path, ns=(1, 1))
    assert holds(opened(folder, items), items)
    assert "is made anew: the images have changed" in capsys.readouterr().out
    assert names(folder) == [".json", ".u8"]
    assert holds(opened(folder, items), items)
    assert capsys.readouterr().out.startswith("Found image cache")


def test_another_version_is_another_cache(items: list[Datum], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(folder, items)
    monkeypatch.setattr(cache_module.PIL, "__version__", "0.0")
    opened(folder, items)
    assert names(folder) == [".json"] * 2 + [".u8"] * 2


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def edited(key: str, value: Any) -> Any:
    def edit(path: Path) -> None:
        content = json.loads(path.read_text())
        content[key] = value
        path.write_text(json.dumps(content))

    return edit


DAMAGE: dict[str, tuple[str, Any]] = {
    "cut pixels": (".u8", cut),
    "no pixels": (".u8", Path.unlink),
    "cut description": (".json", cut),
    "empty description": (".json", lambda path: path.write_text("")),
    "a list": (".json", lambda path: path.write_text("[]")),
    "no checksums": (".json", edited("checksums", [])),
    "strange checksums": (".json", edited("checksums", "many66")),
    "no sizes": (".json", edited("sizes", [])),
    "wrong sizes": (".json", edited("sizes", [[40, 48]] * 6)),
    "strange sizes": (".json", edited("sizes", "many")),
    "strange budget": (".json", edited("budget", None)),
    "of something else": (".json", edited("about", {"format": 0})),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage(damage: str, items: list[Datum], folder: Path) -> None:
    opened(folder, items)
    suffix, harm = DAMAGE[damage]
    harm(next(folder.glob(f"*{suffix}")))
    assert holds(opened(folder, items), items)
    assert names(folder) == [".json", ".u8"]
    assert len(opened(folder, items) or ()) == 6


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("train", [True, False])
def test_damaged_pixels(
    train: bool, workers: int, items: list[Datum], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = cached_cfg(folder, DATALOADER__NUM_WORKERS=workers)
    plain = images(loader(input_cfg("tensor"), items, train, sampler="SequentialSampler"))
    assert torch.equal(images(loader(cfg, items, train, sampler="SequentialSampler")), plain)
    path = next(folder.glob("*.u8"))
    content = bytearray(path.read_bytes())
    content[0] ^= 1  # of the first image
    content[3 * 48 * 40 if train else 3 * 32 * 32] ^= 128  # of the second
    path.write_bytes(content)
    batches = loader(cfg, items, train, sampler="SequentialSampler")
    capsys.readouterr()
    batches.dataset.open_cache()  # type: ignore[attr-defined]
    assert capsys.readouterr().out.startswith("Found image cache")
    for _ in range(2):
        batches.sampler.set_epoch(0)  # type: ignore[attr-defined]
        assert torch.equal(images(batches), plain)
    cache = batches.dataset.pixels.cache  # type: ignore[attr-defined]
    # What one worker has found, all know.
    assert list(cache.marks[:4]) == [2, 2, 1, 1]
    assert [cache[i] is None for i in range(6)] == [True, True] + 4 * [False]


def test_damage_is_said_once(items: list[Datum], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened(folder, items)
    path = next(folder.glob("*.u8"))
    path.write_bytes(bytes(WHOLE))
    cache = opened(folder, items)
    assert cache is not None
    assert [cache[i] for i in (0, 1, 0)] == [None] * 3
    assert capsys.readouterr().out.count(f"The image cache {path} is damaged") == 1


def test_budget(items: list[Datum], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first_two = 3 * 2 * 48 * 40
    for budget, kept in ((first_two + 1, 2), (first_two, 2), (WHOLE - 1, 5), (WHOLE, 6), (first_two, 6)):
        cache = opened(folder, items, budget)
        assert holds(cache, items)
        assert len(cache or ()) == kept
        out = capsys.readouterr().out
        assert (f"Note: the first {kept} of 6 images fit DATALOADER.CACHE_BYTES {budget}" in out) == (kept < 6)
        assert names(folder) == [".json", ".u8"]
    # The others are decoded, and nothing else changes.
    plain = images(loader(input_cfg("tensor"), items))
    limited = loader(cached_cfg(folder / "other", DATALOADER__CACHE_BYTES=first_two), items)
    assert torch.equal(images(limited), plain)
    assert len(limited.dataset.pixels.cache) == 2  # type: ignore[attr-defined]
    # Counted from the end, an image is none of the first.
    assert torch.equal(limited.dataset.pixels[-1], read_tensor(items[-1].impath))  # type: ignore[attr-defined]


def test_budget_for_nothing(items: list[Datum], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert opened(folder, items, budget=10) is None
    assert "the first 0 of 6 images" in capsys.readouterr().out
    assert names(folder) == []
    plain = images(loader(input_cfg("tensor"), items))
    assert torch.equal(images(loader(cached_cfg(folder, DATALOADER__CACHE_BYTES=10), items)), plain)


def test_folder_that_cannot_be_written(items: list[Datum], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.write_text("no folder")
    plain = loader(input_cfg("tensor"), items)
    cached = loader(cached_cfg(folder), items)
    for _ in range(2):
        assert torch.equal(images(cached), images(plain))
    # Said once.
    assert capsys.readouterr().out.count(f"Note: no image cache, since {folder} cannot be written") == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_image(workers: int, items: list[Datum], folder: Path) -> None:
    path = Path(items[3].impath)
    path.write_bytes(path.read_bytes()[:300])
    batches = loader(cached_cfg(folder, DATALOADER__NUM_WORKERS=workers), items)
    with pytest.raises(ImageError, match=f"the image {path} cannot be read"):
        list(batches)
    assert names(folder) == []
    path.unlink()
    with pytest.raises(ImageError, match=f"the image {path} cannot be read"):
        list(batches)


def _make(folder: Path, paths: list[str], start: Any, results: Any) -> None:
    start.wait()
    made = open_cache(folder, 10**6, paths, "whole images", read_tensor)
    found = [] if made is None else [made[i] for i in range(len(made))]
    results.put([None if image is None else int(image.sum()) for image in found])


def test_several_processes_at_once(items: list[Datum], folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(3), context.SimpleQueue()
    paths = [item.impath for item in items]
    makers = [context.Process(target=_make, args=(folder, paths, start, results)) for _ in range(3)]
    for maker in makers:
        maker.start()
    expected = [int(read_tensor(path).sum()) for path in paths]
    assert [results.get() for _ in makers] == [expected] * 3
    for maker in makers:
        maker.join()
    assert names(folder) == [".json", ".u8"]
    assert holds(opened(folder, items), items)


def test_travels_without_its_pixels(items: list[Datum], folder: Path) -> None:
    cache = opened(folder, items)
    content = pickle.dumps(cache)
    assert len(content) < 1000
    assert holds(pickle.loads(content), items)
    dataset = loader(cached_cfg(folder), items, train=False).dataset
    dataset.open_cache()  # type: ignore[attr-defined]
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[1]["img"], dataset[1]["img"])


def test_arrives_after_another_has_replaced_it(
    items: list[Datum], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = loader(cached_cfg(folder, DATALOADER__CACHE_BYTES=WHOLE - 1), items, train=False).dataset
    dataset.open_cache()  # type: ignore[attr-defined]
    expected = dataset[1]["img"]
    content = pickle.dumps(dataset)
    path = next(folder.glob("*.u8"))
    for harm in (cut, Path.unlink):
        harm(path)
        capsys.readouterr()
        assert torch.equal(pickle.loads(content)[1]["img"], expected)
        assert capsys.readouterr().out.count(f"The image cache {path} is gone") == 1


def test_short_side_is_for_training(items: list[Datum], folder: Path) -> None:
    cfg = cached_cfg(folder, DATALOADER__CACHE_SHORT_SIDE=36)
    batches = loader(cfg, items)
    images(batches)
    shapes = [tuple(batches.dataset.pixels[i].shape[1:]) for i in range(6)]  # type: ignore[attr-defined]
    # (height, width): proportions stay, small images too.
    assert shapes == [(36, 43), (43, 36), (36, 57), (36, 36), (43, 36), (47, 33)]
    plain = images(loader(input_cfg("tensor"), items, train=False))
    assert torch.equal(images(loader(cfg, items, train=False)), plain)


@pytest.mark.parametrize("backend", ["pil", "tensor"])
def test_short_side_needs_a_cache(backend: str, items: list[Datum]) -> None:
    # Else a run that goes on without one would see other images.
    cfg = input_cfg(backend, DATALOADER__CACHE_SHORT_SIDE=36)
    message = r"^DATALOADER\.CACHE_SHORT_SIDE needs DATALOADER\.CACHE_BYTES above 0$"
    with pytest.raises(ValueError, match=message):
        loader(cfg, items)


def test_only_with_tensors(items: list[Datum], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r"^DATALOADER\.CACHE_BYTES needs INPUT\.BACKEND tensor$"):
        loader(input_cfg("pil", DATALOADER__CACHE_BYTES=1), items)
    batches = loader(cached_cfg(folder, INPUT__TRANSFORMS=("randaugment",)), items)
    assert "Note: no image cache, since PIL reads these images" in capsys.readouterr().out
    assert images(batches).shape == (4, 3, 32, 32)
    assert not folder.exists()


def test_default_folder(items: list[Datum], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    images(loader(input_cfg("tensor", DATALOADER__CACHE_BYTES=10**6), items))
    assert names(tmp_path / "xdg/dassl/images") == [".json", ".u8"]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    images(loader(input_cfg("tensor", DATALOADER__CACHE_BYTES=10**6), items))
    assert names(tmp_path / "home/.cache/dassl/images") == [".json", ".u8"]
