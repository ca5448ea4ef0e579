"""Memory and time of a training step with many classes, for budgets of text activations (TRAIN.TEXT_MEMORY).

PYTHONPATH=. python benchmarks/memory.py --method PromptSRC --classes 1000 --budgets 0 1024 256
PYTHONPATH=. python benchmarks/memory.py --method CoOp --classes 21000 --budgets 2048

Random weights of ViT-B/16, the published settings, features of the reference drawn. Memory is that of a step beyond the
weights: on a GPU the peak; on a CPU what the forward pass keeps for the backward pass, to which a chunk that is
computed again adds a quarter of the budget at most, and (on Linux) what the process grew by in a step, beside it. The
latter depends on how the C library keeps freed memory; MALLOC_MMAP_THRESHOLD_=65536 makes glibc give it back.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.device import ROWS, Models, batch_of, milliseconds, trainer_of
from benchmarks.kept import kept
from benchmarks.resident import grown
from caspl.teachers import Reference


def drawn(reference: Reference, model: Any, *_: object) -> Tensor:
    """Text features of a reference, in place of those of sixty templates."""
    return F.normalize(torch.randn(len(model.text.classnames), model.clip.sizes.embed_dim), dim=-1).to(
        model.scale.device
    )


def main() -> None:
    """Command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--method", default="PromptSRC", choices=sorted({row[0] for row in ROWS} - {"CasPL"}))
    p.add_argument("--classes", type=int, default=1000)
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--budgets", type=int, nargs="+", default=[0, 1024, 256], metavar="MIB", help="0: no bound")
    p.add_argument("--steps", type=int, default=3, help="that are timed, interleaved over the budgets")
    p.add_argument("--mode", default="fp32")
    args = p.parse_args()
    logging.getLogger("dassl").setLevel(logging.WARNING)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    Reference._texts = drawn  # type: ignore[assignment, method-assign]
    models = Models()
    config = next(row[1] for row in ROWS if row[0] == args.method)
    with tempfile.TemporaryDirectory() as name:
        trainer = trainer_of(models, (args.method, config, args.classes, args.batch), args.mode, device, Path(name))
    step, batch = trainer.step, batch_of(models, args.batch, args.classes, device)
    step.begin_epoch()
    memory: dict[int, float] = {}
    more: dict[int, float] = {}
    times: dict[int, list[float]] = {budget: [] for budget in args.budgets}
    for budget in args.budgets:
        trainer.model.text_budget = budget * 2**20
        if device.type == "cuda":
            before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
            step.gradients(batch)
            memory[budget] = (torch.cuda.max_memory_allocated(device) - before) / 2**20
            times[budget].append(milliseconds(lambda: step.gradients(batch), args.steps, device))
        else:
            memory[budget] = kept(lambda: step.compute(batch), step.model.clip.parameters()) / 2**20
    for _ in range(args.steps if device.type == "cpu" else 0):
        for budget in args.budgets:
            trainer.model.text_budget = budget * 2**20
            start = time.perf_counter()
            grew = grown(lambda: step.gradients(batch))
            times[budget].append(1000 * (time.perf_counter() - start))
            more[budget] = max(more.get(budget, 0.0), grew)
    print(
        f"{args.method}, {args.classes} classes, batch {args.batch}, {args.mode}, {device}, torch {torch.__version__}"
    )
    first = statistics.median(times[args.budgets[0]])
    for budget in args.budgets:
        took = statistics.median(times[budget])
        bound = f"within {budget} MiB" if budget else "no bound"
        grew = f" (the process grew by {more[budget]:.0f})" if more.get(budget, 0) > 0 else ""
        told = f"{memory[budget]:8.0f} MiB beyond the weights{grew}"
        print(f"{bound:>16}: {told}, {took / 1000:7.2f} s, {took / first:.2f} x")


if __name__ == "__main__":
    main()
