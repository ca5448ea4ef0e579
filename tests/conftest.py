"""Shared fixtures: small CLIP files, a small data set on disk, one thread for small tensors."""

from __future__ import annotations

import ctypes
import gc
import itertools
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from caspl.boosting import Header, write_boosting
from caspl.cores import free_cores
from caspl.prompts import Segment, normal_tokens
from caspl.towers import CLIP, Sizes
from caspl.towers.weights import write_clip
from caspl.zoo import weights_hash
from dassl.utils.logger import close_logger
from tests.device import DEVICE
from tests.stand_in import stand_in_checkout
from tests.tiny_clip import SIZES, tiny_state_dict

if DEVICE.type == "cpu":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # command lines, and programs that tests start, compute there too

TEACHER_SIZES = Sizes(48, 32, 8, vision_width=128, vision_layers=4, text_width=64, text_layers=3)
CLASSES = ("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "River", "SeaLake")

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
FINISHED = itertools.count(1)
SWEEP = 10
"""Tests after which what is gone is swept out; each sweep takes some tenths of a second."""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with another train.py; returns the folder for its output."""
    return stand_in_checkout(tmp_path, monkeypatch)


@pytest.hookimpl(optionalhook=True)  # where xdist is not used there is none
def pytest_xdist_auto_num_workers() -> int:
    """As many as there are cores that nobody else uses."""
    return free_cores()


def pytest_runtest_logfinish() -> None:
    """Trainers hold themselves in circles of few and large objects, which Python would let pile up to gigabytes."""
    if next(FINISHED) % SWEEP == 0:
        gc.collect()
        if hasattr(LIBC, "malloc_trim"):  # glibc keeps what lies between pieces that are still used
            LIBC.malloc_trim(0)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _quiet_loggers() -> Iterator[None]:
    """A run in a test attaches these to the engine's log: no test hears another one's."""
    yield
    close_logger()
    for name in ("caspl", "trainers", "datasets"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Weights files of a student, another student of the same sizes, and a teacher."""
    folder = tmp_path_factory.mktemp("clips")
    states = {
        "student": tiny_state_dict(0),
        "other": tiny_state_dict(1),
        "teacher": tiny_state_dict(2, TEACHER_SIZES),
    }
    for name, state in states.items():
        write_clip(folder / f"{name}.safetensors", state, "quick_gelu", Sizes.of(state).heads)
    return {name: str(folder / f"{name}.safetensors") for name in states}


@pytest.fixture(scope="session")
def eurosat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with EuroSAT's layout, ten images a class of noise around a colour."""
    root = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    names = (*CLASSES[:4], "Industrial", "Pasture", "PermanentCrop", "Residential", "River", "SeaLake")
    for name in names:
        folder = root / "eurosat" / "2750" / name
        folder.mkdir(parents=True)
        colour = generator.integers(0, 256, 3)
        for number in range(1, 11):
            pixels = np.clip(colour + generator.integers(-60, 60, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}_{number}.jpg")
    return root


@pytest.fixture
def runs(eurosat: Path, clips: dict[str, str], tmp_path: Path) -> Any:
    """Command lines over the small data set."""
    from tests.runs import Runs  # late: it imports train.py

    return Runs(eurosat, clips, tmp_path)


def boosting_file(
    path: Path, student: str = "student", dataset: str = "EuroSAT", seed: int = 0, depth: int = 3, vision: bool = True
) -> Path:
    """Random boosting tokens for the test student, which has 3 layers: 3 text and 2 vision tokens in each of some."""
    torch.manual_seed(seed)
    clip = CLIP.from_state_dict(tiny_state_dict(0 if student == "student" else 1))
    header = Header(student, weights_hash(clip), "teacher", dataset, CLASSES, "a photo of a {}.", 1, 20, 1.0)
    text, image = normal_tokens(depth, 3, SIZES.text_width), normal_tokens(depth, 2, SIZES.vision_width)
    tokens = Segment("boosting", image).values if vision else None
    return write_boosting(path, header, Segment("boosting", text).values, tokens)
