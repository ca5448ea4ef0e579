"""A trainer's step in a process of its own, ours or that of another code base, done when the parent says so.

Started by benchmarks/peers.py. Code bases have packages of the same names, so that two of them need two processes.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from tests.external.cpu import enter
from tests.no_data import without_data

MARK = ">>>"
"""In front of every answer: other code bases print what they like."""
Batch = dict[str, Tensor]


def ours(args: argparse.Namespace, folder: Path) -> Any:
    """Our trainer of that name."""
    from benchmarks.device import Models, trainer_of
    from caspl.teachers import Reference
    from caspl.towers import CLIP
    from caspl.towers.weights import read_state_dict

    logging.getLogger("dassl").setLevel(logging.WARNING)
    models = Models(given=CLIP.from_state_dict(read_state_dict(args.weights / "ViT-B-16.pt")))
    texts: Any = Reference._texts
    first: Any = lambda self, model, templates, segments: texts(self, model, templates[:1], segments)  # noqa: E731
    Reference._texts = first  # type: ignore[method-assign]  # they are averaged before the first step
    row = (args.trainer, args.config, args.classes, args.batch)
    return trainer_of(models, row, args.mode, torch.device(args.device), folder)


def theirs(args: argparse.Namespace, folder: Path) -> Any:
    """The trainer of that name of the checkout, as it is published."""
    enter(args.checkout, args.weights, full_precision=args.mode == "fp32")
    from dassl.config import get_cfg_default
    from dassl.engine import TRAINER_REGISTRY

    cfg = get_cfg_default()
    importlib.import_module("train").extend_cfg(cfg)
    trainer = TRAINER_REGISTRY.get(args.trainer)
    cfg.merge_from_file(str(next(args.checkout.glob(f"configs/trainers/{args.config}.yaml"))))
    cfg.TRAINER.NAME, cfg.TRAINER[args.trainer.upper()].PREC = args.trainer, args.mode
    cfg.DATASET.NAME, cfg.USE_CUDA, cfg.OUTPUT_DIR = "EuroSAT", args.device != "cpu", str(folder)
    cfg.INPUT.SIZE = (args.resolution, args.resolution)
    module: Any = sys.modules[trainer.__module__]
    if hasattr(module, "IMAGENET_TEMPLATES"):
        module.IMAGENET_TEMPLATES = module.IMAGENET_TEMPLATES[:1]  # they are averaged before the first step
    made = without_data(trainer, names_of(args.classes))(cfg)
    made.set_model_mode("train")  # type: ignore[attr-defined]
    return made


def names_of(classes: int) -> list[str]:
    return [f"class number {number}" for number in range(classes)]


def kept(trainer: Any, batch: Batch) -> int:
    """Bytes that a step's forward pass keeps for the backward pass, weights aside."""
    weights = {value.untyped_storage().data_ptr() for value in trainer.model.parameters()}
    found: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            found[storage.data_ptr()] = storage.nbytes()
        return value

    with saved_tensors_hooks(keep, lambda value: value):
        trainer.forward_backward(batch)
    return sum(found.values())


def peak(trainer: Any, batch: Batch) -> int:
    """Bytes of a GPU's memory that a step needs beyond what is there before."""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    trainer.forward_backward(batch)
    return torch.cuda.max_memory_allocated() - before


def main() -> None:
    """Build, then answer each line of standard input: ``step`` in ms, ``memory`` in MiB, ``products`` in 1e12."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("trainer")
    p.add_argument("config", help="below configs/trainers")
    p.add_argument("--checkout", type=Path, help="of another code base; else ours")
    p.add_argument("--weights", type=Path, required=True, help="folder of ViT-B-16.pt")
    p.add_argument("--classes", type=int, required=True)
    p.add_argument("--batch", type=int, required=True)
    p.add_argument("--mode", required=True)
    p.add_argument("--device", default="cpu")
    p.add_argument("--resolution", type=int, default=224)
    args = p.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = (theirs if args.checkout else ours)(args, Path(folder))
        # What a trainer sets in its own loop.
        trainer.batch_idx, trainer.num_batches, trainer.epoch, trainer.max_epoch = 0, 10**9, 0, 10
        labels = torch.arange(args.batch) % args.classes
        batch = {"img": torch.randn(args.batch, 3, args.resolution, args.resolution), "label": labels}
        print(MARK, 0, flush=True)
        for line in sys.stdin:
            wait = torch.cuda.synchronize if args.device != "cpu" else lambda: None
            if line.strip() == "memory":
                print(MARK, (kept if args.device == "cpu" else peak)(trainer, batch) / 2**20, flush=True)
                continue
            if line.strip() == "products":
                with FlopCounterMode(display=False) as counted:
                    trainer.forward_backward(batch)
                print(MARK, counted.get_total_flops() / 1e12, flush=True)
                continue
            wait()
            start = time.perf_counter()
            trainer.forward_backward(batch)
            wait()
            print(MARK, 1000 * (time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main()
