"""Shared fixtures of the engine's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_toy import toy_cfg, write_images
from yacs.config import CfgNode

from dassl.engine import build_trainer
from dassl.utils import set_random_seed
from dassl.utils.logger import close_logger


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the toy images."""
    torch.set_num_threads(1)
    return write_images(tmp_path_factory.mktemp("toy_images"))


@pytest.fixture
def make_cfg(images: Path, tmp_path: Path) -> Callable[..., CfgNode]:
    """Makes configurations of the golden run; arguments are KEY, VALUE pairs."""

    def make(*opts: Any, output: Path | None = None) -> CfgNode:
        return toy_cfg(images, output or tmp_path / "run", *opts)

    return make


@pytest.fixture
def make_trainer(make_cfg: Callable[..., CfgNode]) -> Callable[..., Any]:
    """Makes seeded trainers of the golden run; arguments are KEY, VALUE pairs."""

    def make(*opts: Any, output: Path | None = None) -> Any:
        cfg = make_cfg(*opts, output=output)
        set_random_seed(cfg.SEED)
        return build_trainer(cfg)

    return make


@pytest.fixture(autouse=True)
def _no_open_log() -> Iterator[None]:
    yield
    close_logger()
