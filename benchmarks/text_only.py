"""A step of CoOp that looks at its images beside one that reads their features from a store.

PYTHONPATH=. python benchmarks/text_only.py --classes 10 100 --batch 32 --steps 3

ViT-B/16 with random weights, the published settings (float32 on a CPU), steps on decoded images and interleaved; what
is read lies in several shards on the disk. "image" is the frozen image tower's pass alone, which the store saves. A
step that looks also waits for its images to be decoded; one that reads does not, which is not in the gain.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.device import Models, batch_of, trainer_of
from benchmarks.distillation import KEPT, begin, decoding, kept_store, parser, seconds, write

CONFIG = "CoOp/vit_b16"


def measure(
    models: Models, classes: int, size: int, args: argparse.Namespace, device: torch.device, folder: Path
) -> dict[str, Any]:
    """Seconds of a batch."""
    trainer = trainer_of(models, ("CoOp", CONFIG, classes, size), args.mode, device, folder)
    step, batch = trainer.step, batch_of(models, size, classes, device)
    store = kept_store(folder / "kept", trainer.model.clip.sizes.embed_dim)
    names = [str(KEPT // size * number) for number in range(size)]
    step.begin_epoch()
    nothing = torch.empty(size, 0, device=device)

    def looked() -> None:
        with torch.no_grad(), trainer.precision.compute():
            trainer.model.encode_image(batch.images)

    def read() -> None:
        step(replace(batch, images=nothing, image=store.features(names, [0] * size).to(device)))

    runs: dict[str, Callable[[], object]] = {"image": looked, "online": lambda: step(batch), "store": read}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(args.steps + 1):
        for name, run in runs.items():
            took = seconds(run, device)
            if number:  # the first makes ready
                times[name].append(took)
    step.require_finite(0, "the benchmark's weights are random")
    found = {name: statistics.median(values) for name, values in times.items()}
    found["gain"] = found["online"] / found["store"]
    return {"classes": classes, "batch": size, **found, "decoded": decoding(trainer.cfg, folder, 1)}


def main() -> None:
    """Command line."""
    p = parser(__doc__, [10, 100])
    p.add_argument("--batch", type=int, default=32)
    args = p.parse_args()
    device, models = begin(args)
    measured: list[dict[str, Any]] = []
    print(f"CoOp, {device}, {torch.get_num_threads()} threads, torch {torch.__version__}, {args.mode}; seconds a batch")
    print("| C | batch | image tower | online | store | gain |")
    for classes in args.classes:
        with tempfile.TemporaryDirectory() as name:
            measured.append(measure(models, classes, args.batch, args, device, Path(name)))
        one = measured[-1]
        times = " | ".join(f"{one[key]:.3f}" for key in ("image", "online", "store"))
        print(f"| {classes} | {args.batch} | {times} | {one['gain']:.1f} |", flush=True)
    print(f"a view: {1000 * measured[-1]['decoded']:.1f} ms to decode, which a step that reads is spared as well")
    write(args, device, measured)


if __name__ == "__main__":
    main()
