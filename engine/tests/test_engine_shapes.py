"""Trainers and a train.py in the shape that the repositories of the field give them, run unchanged."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import engine_shapes
import pytest
import torch
from yacs.config import CfgNode as CN

from dassl.config import get_cfg_default
from dassl.engine import build_trainer
from dassl.utils import (
    set_random_seed,
    setup_logger,
)
from dassl.utils.logger import close_logger

TRAINERS = [engine_shapes.PromptShape, engine_shapes.DistilShape, engine_shapes.LoopShape]


def setup_cfg(args: argparse.Namespace, images: Path, output: Path, config: Path) -> Any:
    cfg = get_cfg_default()
    cfg.TRAINER.COOP = CN()
    cfg.TRAINER.COOP.N_CTX = 16
    cfg.TRAINER.COOP.PREC = "fp16"
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"
    cfg.merge_from_file(str(config))
    cfg.DATASET.ROOT = str(images)
    cfg.OUTPUT_DIR = str(output)
    cfg.TRAINER.NAME = args.trainer
    cfg.SEED = 1
    cfg.merge_from_list(args.opts)
    cfg.freeze()
    return cfg


CONFIG = """
DATASET: {NAME: ToyData}
DATALOADER: {NUM_WORKERS: 0, TRAIN_X: {BATCH_SIZE: 4}, TEST: {BATCH_SIZE: 100}}
INPUT: {SIZE: "(32, 32)", INTERPOLATION: bicubic, TRANSFORMS: [random_resized_crop, random_flip, normalize]}
OPTIM: {NAME: sgd, LR: 0.002, MAX_EPOCH: 2, LR_SCHEDULER: cosine, WARMUP_EPOCH: 1, WARMUP_TYPE: constant,
  WARMUP_CONS_LR: 1e-5}
TRAIN: {PRINT_FREQ: 5}
MODEL: {BACKBONE: {NAME: ViT-B/16}}
TRAINER: {COOP: {PREC: fp32}}
USE_CUDA: false
"""


def command(images: Path, output: Path, trainer: str, *opts: str, model_dir: str = "", load_epoch: Any = None) -> Any:
    """Do what every train.py of the field does."""
    config = output.parent / "config.yaml"
    config.write_text(CONFIG)
    args = argparse.Namespace(trainer=trainer, opts=list(opts))
    cfg = setup_cfg(args, images, output, config)
    if cfg.SEED >= 0:
        print(f"Setting fixed seed: {cfg.SEED}")
        set_random_seed(cfg.SEED)
    setup_logger(cfg.OUTPUT_DIR)
    print("** Config **")
    print(cfg)
    built = build_trainer(cfg)
    if model_dir or trainer == "ZeroShape":
        built.load_model(model_dir, epoch=load_epoch)
        built.test()
    else:
        built.train()
    close_logger()
    return built


ACCURACY = re.compile(r"\* accuracy: ([\d.]+)%")


@pytest.mark.parametrize("trainer", [kind.__name__ for kind in TRAINERS])
def test_train_then_evaluate(images: Path, tmp_path: Path, trainer: str) -> None:
    trained = command(images, tmp_path / "run", trainer)
    log = (tmp_path / "run" / "log.txt").read_text()
    lines = log.splitlines()
    for line in ("** Config **", "  WARMUP_CONS_LR: 1e-05", f"Loading trainer: {trainer}",
                 "Loading CLIP (backbone: ViT-B/16)", "# params: 16", "Finish training"):  # fmt: skip
        assert line in lines
    # Nothing in the file has the time in front, and the epochs are there.
    assert not re.search(r"^\d{4}-", log, flags=re.MULTILINE)
    assert len(re.findall(r"^epoch \[[12]/2\].* lr ", log, flags=re.MULTILINE)) == (10 if trainer == "LoopShape" else 2)
    assert "it/s]" not in log
    last = ACCURACY.findall(log)[-1]

    again = command(images, tmp_path / "eval", trainer, model_dir=trained.output_dir, load_epoch=2)
    assert torch.equal(again.model.prompt_learner.fc.weight, trained.model.prompt_learner.fc.weight)
    log = (tmp_path / "eval" / "log.txt").read_text()
    assert ACCURACY.findall(log) == [last]


def test_best_model_of_an_overridden_loader(images: Path, tmp_path: Path) -> None:
    command(
        images,
        tmp_path / "run",
        "DistilShape",
        "TEST.FINAL_MODEL",
        "best_val",
        "TEST.PER_CLASS_RESULT",
        "True",
    )
    log = (tmp_path / "run" / "log.txt").read_text()
    assert 'Loading weights to prompt_learner from "' in log
    assert log.count("Evaluate on the *val* set") == 2


def test_zero_shot(images: Path, tmp_path: Path) -> None:
    command(images, tmp_path / "run", "ZeroShape")
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "load_model() is skipped" in log
    assert len(ACCURACY.findall(log)) == 1
