"""Start a run: seeds, log, checks that need the registries, trainer."""

from __future__ import annotations

import argparse
import difflib
import logging
from pathlib import Path
from typing import Any

import torch
from yacs.config import CfgNode

from caspl.checkpoint import find_checkpoint
from caspl.dassl.blame import refused
from caspl.dassl.ranges import check_ranges
from caspl.dassl.section import require_validation
from caspl.errors import CasPLError, advising
from caspl.files import Claim
from caspl.results.record import CLASSES, FILE_NAME, read_record
from caspl.runtime import Runtime
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.utils import set_random_seed, setup_logger
from trainers.registry import OURS

logger = logging.getLogger(__name__)

SHARED = [Path(__file__).resolve().parents[1] / "datasets"]


def run(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Train or evaluate as a config and the command line say, alone in the output folder.

    Raises:
        CasPLError: for wrong input, or if another run lives in the folder.
    """
    check(cfg, args)
    with Claim.within(cfg.OUTPUT_DIR, f"a run of {cfg.TRAINER.NAME}"):
        trainer = build(cfg, args)
        if args.eval_only:
            trainer.load_model(args.model_dir, epoch=args.load_epoch)
            if getattr(trainer, "loaded", None) is not None:
                trainer.recorder.evaluates(trainer.loaded, args.load_epoch)
            else:
                _keep_other_record(cfg)  # what learns nothing has no run of its own to be tested in
            trainer.test()
        elif not args.no_train:
            require_validation(trainer)
            trainer.train()


def check(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Refuse what can be seen without building or writing anything.

    Raises:
        CasPLError: for an unknown trainer or data set, or a missing setting.
    """
    _known("trainer", cfg.TRAINER.NAME, TRAINER_REGISTRY.registered_names(), "--trainer")
    _known("data set", cfg.DATASET.NAME, DATASET_REGISTRY.registered_names(), "--dataset-config-file")
    check_ranges(cfg, OURS)
    if args.model_dir and not args.eval_only:
        raise CasPLError("--model-dir is for --eval-only; phase 2 finds its boosting tokens by itself")
    if cfg.DATASET.SUBSAMPLE_CLASSES not in CLASSES:
        raise CasPLError(f"DATASET.SUBSAMPLE_CLASSES is all, base or new, not {cfg.DATASET.SUBSAMPLE_CLASSES!r}")
    if not cfg.MODEL.BACKBONE.NAME:
        raise CasPLError("no student: set MODEL.BACKBONE.NAME in the --config-file, or --backbone ViT-B/16")
    world = Runtime.choose(cfg.USE_CUDA).world
    if world > 1:
        raise CasPLError(f"{world} processes were started (WORLD_SIZE), but a run is one process yet: start one")


def build(cfg: CfgNode, args: argparse.Namespace) -> Any:
    """The trainer of a config, seeded and logging.

    Raises:
        CasPLError: for settings that do not fit together.
    """
    if cfg.SEED >= 0:
        set_random_seed(cfg.SEED)
    setup_logger(cfg.OUTPUT_DIR, names=("caspl", "trainers", "datasets"))
    logger.info("arguments: %s", {key: value for key, value in vars(args).items() if value})
    torch.backends.cudnn.benchmark = Runtime.choose(cfg.USE_CUDA).device.type == "cuda"
    if args.eval_only:
        if not args.model_dir or Path(args.model_dir).resolve() != Path(cfg.OUTPUT_DIR).resolve():
            _keep_other_record(cfg)
        _take_boosting_from_checkpoint(cfg, args)
    with refused("the trainer cannot be built with this config: {}", SHARED):
        return build_trainer(cfg)


def _keep_other_record(cfg: CfgNode) -> None:
    path = Path(cfg.OUTPUT_DIR) / FILE_NAME
    if not path.is_file():
        return
    record = read_record(path)
    there = (record.trainer, record.dataset, record.classes)
    if there != (cfg.TRAINER.NAME, cfg.DATASET.NAME, cfg.DATASET.SUBSAMPLE_CLASSES):
        raise CasPLError(f"{path} is the record of another test ({', '.join(there)} classes); use another --output-dir")


def _take_boosting_from_checkpoint(cfg: CfgNode, args: argparse.Namespace) -> None:
    """To evaluate a cascade, its own checkpoint is enough: it holds the boosting tokens too."""
    trainer = TRAINER_REGISTRY.get(cfg.TRAINER.NAME)
    if not getattr(trainer, "boosted", False):  # a trainer of another code base finds its file as in training
        return
    folder = Path(args.model_dir) / trainer.saved_as
    if folder.is_dir() and not cfg.TRAINER.CASPL.BOOSTING:
        cfg.defrost()
        with advising("check --model-dir and --load-epoch"):
            cfg.TRAINER.CASPL.BOOSTING = str(find_checkpoint(folder, args.load_epoch))
        cfg.freeze()


def _known(kind: str, name: str, names: list[str], flag: str) -> None:
    if not name:
        raise CasPLError(f"no {kind} given: use {flag}; there are {', '.join(sorted(names))}")
    if name not in names:
        lower = {known.lower(): known for known in names}
        near = [lower[found] for found in difflib.get_close_matches(name.lower(), lower, n=3)]
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(names))}"
        raise CasPLError(f"unknown {kind} {name!r}: {hint}")
