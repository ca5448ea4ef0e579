"""A trainer without files: class names and batches come from the test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yacs.config import CfgNode

import trainers  # noqa: F401  registers
from caspl.pixels import OPENAI_MEAN, OPENAI_STD
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from tests.device import DEVICE
from tests.no_data import without_data
from trainers.registry import extend_cfg


def make_cfg(trainer: str, student: str, resolution: int, **settings: Any) -> CfgNode:
    """A config for tests; settings are written with ``__`` for the dots."""
    cfg = get_cfg_default()
    extend_cfg(cfg)
    cfg.TRAINER.NAME = trainer
    cfg.MODEL.BACKBONE.NAME = student
    cfg.INPUT.SIZE = (resolution, resolution)
    cfg.INPUT.INTERPOLATION = "bicubic"
    cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD = list(OPENAI_MEAN), list(OPENAI_STD)
    cfg.SEED = 1
    cfg.USE_CUDA = DEVICE.type != "cpu"
    cfg.OPTIM.NAME = "sgd"
    cfg.OPTIM.LR_SCHEDULER = "cosine"
    cfg.OPTIM.WARMUP_EPOCH = 1
    cfg.OPTIM.WARMUP_TYPE = "constant"
    for key, value in settings.items():
        *parents, leaf = key.split("__")
        node = cfg
        for name in parents:
            node = node[name]
        assert leaf in node, key
        node[leaf] = value
    cfg.freeze()
    return cfg


def make_trainer(cfg: CfgNode, classnames: Sequence[str], every: Sequence[str] = ()) -> Any:
    """The trainer of a config over the given class names, without data; ``every`` are all names of the data set."""
    return without_data(TRAINER_REGISTRY.get(cfg.TRAINER.NAME), classnames, every)(cfg)
