"""Against the published splits, where $DATA holds them: the few-shot samples that everyone draws.

The expected hashes are those of the index lists of an independent project (16 shots, seed 1; SHA-256 over the
relative paths, joined by line feeds).
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, cast

import pytest

import datasets  # noqa: F401
from caspl.data import Entry, read_split, write_split
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from datasets.protocol.fewshot import few_shots
from datasets.protocol.subset import select_classes

SAMPLES = {
    "Caltech101": ("e60a836bd33cbba3", "53555d3fce94587d"),
    "DescribableTextures": ("daf3b28e531fbc4b", "9ef81bd9b8f31885"),
    "EuroSAT": ("ad260707da9107f1", "f171ab42c4e4c55c"),
    "OxfordFlowers": ("ea366f552e24a82b", "3a88b427e7b187eb"),
    "OxfordPets": ("711e62ca7ba4bf69", "b75fc02100f37a51"),
    "StanfordCars": ("f7d56096c7921e7a", "edeb0808f53c4619"),
    "UCF101": ("b88bd6d2db741f87", "6499ec117e625487"),
    "Food101": ("8bcab0ea1c2dde7d", "0c299214865cccac"),
    "SUN397": ("4f0fcf0ddbbe248d", "e1255316553e6966"),
}

BASE_NEW_TEST = {
    "Caltech101": (1549, 916),
    "DescribableTextures": (864, 828),
    "EuroSAT": (4200, 3900),
    "OxfordFlowers": (1053, 1410),
    "OxfordPets": (1881, 1788),
    "StanfordCars": (4002, 4039),
    "UCF101": (1934, 1849),
    "Food101": (15300, 15000),
    "SUN397": (9950, 9900),
}


@pytest.fixture(params=SAMPLES)
def published(request: pytest.FixtureRequest) -> tuple[str, Path]:
    kind = DATASET_REGISTRY.get(request.param)
    path = Path(os.environ.get("DATA", "data")) / kind.dataset_dir / kind.split_file
    if not path.exists():
        pytest.skip(f"{path} is not there")
    if read_split(path).origin:
        pytest.skip(f"{path} is not the published split")
    return request.param, path


def test_few_shot_sample(published: tuple[str, Path], tmp_path: Path) -> None:
    name, path = published
    sample = few_shots(read_split(path), 16, 1, tmp_path, draw)
    assert (digest(sample.train), digest(sample.val)) == SAMPLES[name]


def test_base_and_new_sizes(published: tuple[str, Path]) -> None:
    name, path = published
    split = read_split(path)
    assert tuple(len(select_classes(split, subset).test) for subset in ("base", "new")) == BASE_NEW_TEST[name]


def test_rewriting_gives_the_same_bytes(published: tuple[str, Path], tmp_path: Path) -> None:
    _, path = published
    write_split(tmp_path / path.name, read_split(path))
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def draw(entries: list[Entry], shots: int) -> list[Entry]:
    base = DatasetBase.__new__(DatasetBase)
    return cast("list[Entry]", cast(Any, base).generate_fewshot_dataset(cast("list[Datum]", entries), num_shots=shots))


def digest(entries: list[Entry]) -> str:
    return hashlib.sha256("\n".join(entry.path for entry in entries).encode()).hexdigest()[:16]
