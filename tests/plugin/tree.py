"""A code base that is not ours in one file: trainers, config, and a ``train.py`` with the plug-in's two lines."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from yacs.config import CfgNode

import caspl.plugin
import datasets
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY, build_trainer
from dassl.utils import set_random_seed, setup_logger
from tests.plugin import standins

for published in ("CoOp", "PromptSRC", "VPT", "ZeroshotCLIP"):
    TRAINER_REGISTRY.register()(getattr(standins, published))


def extend_cfg(cfg: CfgNode) -> None:
    cfg.TRAINER.COOP = CfgNode({"N_CTX": 4, "CSC": False, "CTX_INIT": "", "CLASS_TOKEN_POSITION": "end"})
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"


def main() -> None:
    parser = argparse.ArgumentParser()
    for flag in ("--root", "--trainer", "--output-dir", "--model-dir"):
        parser.add_argument(flag, default="")
    parser.add_argument("--eval-only", action="store_true")
    parser.add_argument("opts", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    cfg = get_cfg_default()
    extend_cfg(cfg)
    caspl.plugin.extend_cfg(cfg)
    cfg.merge_from_file(str(Path(datasets.__file__).parents[1] / "configs/datasets/eurosat.yaml"))
    cfg.DATASET.ROOT, cfg.TRAINER.NAME, cfg.OUTPUT_DIR = args.root, args.trainer, args.output_dir
    cfg.merge_from_list(args.opts)
    cfg.freeze()
    set_random_seed(cfg.SEED)
    setup_logger(cfg.OUTPUT_DIR)
    trainer = build_trainer(cfg)
    if args.eval_only:
        trainer.load_model(args.model_dir, epoch=1)
        trainer.test()
    else:
        trainer.train()


if __name__ == "__main__":
    sys.exit(main())
