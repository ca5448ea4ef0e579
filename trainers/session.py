"""Start a run: seeds, log, checks that need the registries, trainer."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from yacs.config import CfgNode

from caspl.checkpoint import read_checkpoint
from caspl.cores import settle_threads
from caspl.dassl.blame import refused
from caspl.dassl.choices import check_choices
from caspl.dassl.ranges import check_ranges
from caspl.dassl.section import require_validation
from caspl.errors import CasPLError, advising, near
from caspl.files import Claim
from caspl.group import Group
from caspl.results.record import FILE_NAME, read_record
from caspl.runtime import Runtime
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.utils import set_random_seed, setup_logger, speak_of_errors_alone
from trainers.base import PromptTrainer
from trainers.registry import OURS

logger = logging.getLogger(__name__)

LOGGERS = ("caspl", "trainers", "datasets")
SHARED = [Path(__file__).resolve().parents[1] / "datasets"]


def run(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Train or evaluate as a config and the command line say, alone in the output folder.

    Raises:
        CasPLError: for wrong input, or if another run lives in the folder.
    """
    group = Group.join()
    group.first(lambda: check(cfg, args))
    with _alone_in(cfg.OUTPUT_DIR, f"a run of {cfg.TRAINER.NAME}", group):
        trainer = build(cfg, args)
        if args.eval_only:
            trainer.load_model(args.model_dir, epoch=args.load_epoch)
            if getattr(trainer, "loaded", None) is not None:
                trainer.recorder.evaluates(trainer.loaded, args.load_epoch)
            else:
                _keep_other_record(cfg)  # what learns nothing has no run of its own to be tested in
            trainer.test()
        elif args.build_store:
            trainer.build_store()
        elif not args.no_train:
            require_validation(trainer)
            trainer.train()
            if isinstance(trainer, PromptTrainer):
                for line in trainer.whats_next():
                    logger.info("next: %s", line)


@contextmanager
def _alone_in(folder: str, what: str, group: Group) -> Iterator[None]:
    """Hold the claim on a folder for all processes of a run, of which the first one takes it."""
    claim = Claim.within(folder, what)
    group.first(claim.take)
    try:
        yield
    finally:
        claim.release()


def check(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Refuse what can be seen without building or writing anything.

    Raises:
        CasPLError: for an unknown trainer or data set, or a missing setting.
    """
    _known("trainer", cfg.TRAINER.NAME, TRAINER_REGISTRY.registered_names(), "--trainer")
    with advising("for your own pictures it is Folder (docs/your-data.md)"):
        _known("data set", cfg.DATASET.NAME, DATASET_REGISTRY.registered_names(), "--dataset-config-file")
    check_ranges(cfg, OURS)
    check_choices(cfg, OURS)
    if args.model_dir and not args.eval_only:
        raise CasPLError("--model-dir is for --eval-only; phase 2 finds its boosting tokens by itself")
    if cfg.TEST.SAVE_PREDICTIONS and cfg.DATALOADER.TEST.SAMPLER != "SequentialSampler":
        raise CasPLError(
            "TEST.SAVE_PREDICTIONS needs the test images in order: DATALOADER.TEST.SAMPLER SequentialSampler"
        )
    if cfg.DATASET.FOLDER.TRAINED_CLASSES and not args.eval_only:
        raise CasPLError("DATASET.FOLDER.TRAINED_CLASSES is for --eval-only")
    if cfg.DATASET.ROOT and Path(cfg.OUTPUT_DIR).resolve() == Path(cfg.DATASET.ROOT).expanduser().resolve():
        raise CasPLError(f"--output-dir {cfg.OUTPUT_DIR} is the folder of the data: use another")
    if args.build_store and not cfg.TRAINER.CASPL.STORE:
        raise CasPLError("there is no store to build: name its folder with TRAINER.CASPL.STORE")
    if args.build_store and not hasattr(TRAINER_REGISTRY.get(cfg.TRAINER.NAME), "build_store"):
        raise CasPLError(f"{cfg.TRAINER.NAME} keeps no features, so that there is no store to build")
    if not cfg.MODEL.BACKBONE.NAME:
        raise CasPLError("no student: set MODEL.BACKBONE.NAME in the --config-file, or --backbone ViT-B/16")
    world = Runtime.choose(cfg.USE_CUDA).world
    if world > 1 and not _in_several(TRAINER_REGISTRY.get(cfg.TRAINER.NAME)):
        raise CasPLError(
            f"{world} processes were started, but {cfg.TRAINER.NAME} takes its steps by itself, so that each of them "
            "would train alone: start one (docs/several-gpus.md says what trains in several)"
        )


def _in_several(trainer: type) -> bool:
    """Whether a trainer shares a batch among processes: those on our base class do, unless they step by themselves."""
    return issubclass(trainer, PromptTrainer) and trainer.forward_backward is PromptTrainer.forward_backward


def build(cfg: CfgNode, args: argparse.Namespace) -> Any:
    """The trainer of a config, seeded and logging.

    Raises:
        CasPLError: for settings that do not fit together.
    """
    group, runtime = Group.join(), Runtime.choose(cfg.USE_CUDA)
    _seed(cfg.SEED, group)
    if group.writes:
        # A training that goes on does so in its log, so that what parses log.txt finds the figures.
        setup_logger(cfg.OUTPUT_DIR, names=LOGGERS, append=not (args.eval_only or args.no_train or args.build_store))
    else:
        speak_of_errors_alone(LOGGERS)
    if group.world > 1:
        logger.info("%d processes share each batch: sizes of batches are those of all of them together", group.world)
    logger.info("arguments: %s", {key: value for key, value in vars(args).items() if value})
    torch.backends.cudnn.benchmark = runtime.device.type == "cuda"
    if runtime.device.type == "cuda" and group.world > 1:
        torch.cuda.set_device(runtime.device)
    if runtime.device.type == "cpu":
        settle_threads(processes=group.place.local_world)
    if args.eval_only:
        if not args.model_dir or Path(args.model_dir).resolve() != Path(cfg.OUTPUT_DIR).resolve():
            _keep_other_record(cfg)
        _ask_checkpoint(cfg, args)
    # One after the other, since weights may have to be fetched, and splits and few-shot samples to be drawn and kept.
    with group.in_turn(), refused("the trainer cannot be built with this config: {}", SHARED):
        return build_trainer(cfg)


def _seed(seed: int, group: Group) -> None:
    """Seed all generators; several processes need a seed, since they draw the same order of the images."""
    if seed < 0 and group.world > 1:
        seed = int(group.add_up(torch.tensor(torch.initial_seed() % 2**31 if group.writes else 0)))
    if seed >= 0:
        set_random_seed(seed)


def _keep_other_record(cfg: CfgNode) -> None:
    path = Path(cfg.OUTPUT_DIR) / FILE_NAME
    if not path.is_file():
        return
    record = read_record(path)
    there = (record.trainer, record.dataset, record.classes)
    if there != (cfg.TRAINER.NAME, cfg.DATASET.NAME, cfg.DATASET.SUBSAMPLE_CLASSES):
        raise CasPLError(f"{path} is the record of another test ({', '.join(there)} classes); use another --output-dir")


def _ask_checkpoint(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Take from the checkpoint that is evaluated what it knows, before anything else is asked.

    That of a cascade holds the boosting tokens too, and that of a run on a ``Folder`` the classes that it learned.
    """
    trainer = TRAINER_REGISTRY.get(cfg.TRAINER.NAME)
    # A trainer of another code base asks as in training, and what learns nothing needs no run.
    if not issubclass(trainer, PromptTrainer) or not (trainer.learns or _holds_tokens(trainer, args.model_dir)):
        return
    path = trainer.find_run(cfg, args.model_dir, args.load_epoch)
    checkpoint = read_checkpoint(path)
    cfg.defrost()
    if trainer.boosted and not (cfg.TRAINER.CASPL.BOOSTING or cfg.TRAINER.CASPL.BOOSTING_DATASET):
        cfg.TRAINER.CASPL.BOOSTING = str(path)
    if checkpoint.trained_on.get("dataset") == cfg.DATASET.NAME and not cfg.DATASET.FOLDER.TRAINED_CLASSES:
        cfg.DATASET.FOLDER.TRAINED_CLASSES = checkpoint.classnames
    cfg.freeze()


def _holds_tokens(trainer: type[PromptTrainer], directory: str) -> bool:
    """Whether boosting alone is to be evaluated with the tokens of a run's checkpoint, not with a boosting file.

    Raises:
        CasPLError: there is no such run.
    """
    if not trainer.boosted or not directory:
        return False
    if not Path(directory).is_dir():
        raise CasPLError(f"there is no run {directory}; check --model-dir")
    return (Path(directory) / trainer.saved_as).is_dir()


def _known(kind: str, name: str, names: list[str], flag: str) -> None:
    if not name:
        raise CasPLError(f"no {kind} given: use {flag}; there are {', '.join(sorted(names))}")
    if name not in names:
        found = near(name, names, 3)
        hint = f"did you mean {' or '.join(found)}?" if found else f"there are {', '.join(sorted(names))}"
        raise CasPLError(f"unknown {kind} {name!r}: {hint}")
