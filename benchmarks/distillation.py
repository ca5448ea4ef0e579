"""Phase 1 with the teacher asked in every step beside phase 1 from a store of its features: time, memory, whole runs.

PYTHONPATH=. python benchmarks/distillation.py --classes 10 100 1000 --batches 4 32 --steps 3
PYTHONPATH=. python benchmarks/distillation.py --classes 100 --batches 32 --images 10000 --epochs 20 --views 5
MALLOC_MMAP_THRESHOLD_=65536 PYTHONPATH=. python benchmarks/distillation.py --classes 10 100 --only memory

ViT-B/16 from ViT-L/14 with random weights and the published settings. Steps are on decoded images and interleaved:
the teacher's pass alone (T), the student's step alone (S), a step online and one whose features are read from a store
on the disk. "gain" is online / store, to be held against 1 + T/S. The whole run is computed from these and from the
times to decode a view (a JPEG of 500 x 375, one process, no worker beside it) and to encode one for the store. Memory
is the peak of a step beyond the weights, on a CPU what the process grows by; the teacher's weights stay loaded in
either. On a CPU measure memory apart from time: it needs MALLOC_MMAP_THRESHOLD_=65536, which makes glibc give freed
memory back, and takes time.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks.device import Models, batch_of, trainer_of
from benchmarks.resident import grown
from caspl.dassl.views import NamedViews
from caspl.files import write_json
from caspl.step import Batch
from caspl.store import CHUNK, Header, Store, ViewPlan, encode_alike
from caspl.store.store import Row

CONFIG = "CasPL/vit_b16_c2_ep20_batch4_8+8ctx_l12"
KEPT = 10_000
"""Rows of the store that is read from, so that they lie in several shards."""
DECODED = 20
"""Pictures that are decoded and timed."""


def kept_store(folder: Path, width: int) -> Store:
    """A store of drawn features."""
    drawn = F.normalize(torch.randn(KEPT, width), dim=-1)
    made = Store(folder, Header("drawn", "drawn", "drawn", "", {}, {}))

    def encode(rows: list[Row]) -> Iterator[Tensor]:
        yield drawn[[int(identity) for identity, _ in rows]]

    made.complete([(str(number), 0) for number in range(KEPT)], encode)
    return made


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Of one call; the device is waited for."""
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def peak(run: Callable[[], object], device: torch.device) -> float:
    """MiB by which a call grows what a GPU, or else the process, holds, at most."""
    run()
    if device.type != "cuda":
        return grown(run)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def decoding(cfg: Any, folder: Path, each: int) -> float:
    """Seconds that a view of a JPEG takes to be read, cut, resized and normalised, with so many cut of each."""
    coarse = torch.rand(DECODED, 3, 24, 32)
    pictures = F.interpolate(coarse, (375, 500), mode="bilinear").mul(255).byte().permute(0, 2, 3, 1).numpy()
    paths = [folder / f"{number}.jpg" for number in range(DECODED)]
    for path, pixels in zip(paths, pictures, strict=True):
        Image.fromarray(pixels).save(path, quality=90)
    images = NamedViews(cfg, [SimpleNamespace(impath=str(path)) for path in paths], ViewPlan(tuple(cfg.INPUT.SIZE)))

    def views(number: int) -> None:
        for view in range(each):
            images.load(number, view)

    return statistics.median(seconds(lambda n=n: views(n), torch.device("cpu")) for n in range(DECODED)) / each


def measure(
    models: Models, classes: int, size: int, args: argparse.Namespace, device: torch.device, folder: Path
) -> dict[str, Any]:
    """All that a row of the table needs, in seconds of a batch and MiB."""
    trainer = trainer_of(models, ("CasPL", CONFIG, classes, size), args.mode, device, folder)
    teacher, step = trainer.distillation.teacher, trainer.step
    batch = batch_of(models, size, classes, device)
    store = kept_store(folder / "kept", teacher.text.shape[1])
    names = [str(KEPT // size * number) for number in range(size)]
    step.begin_epoch()

    def asked() -> None:
        with trainer.precision.compute():
            teacher.encode_image(batch.images)

    def read() -> Batch:
        return replace(batch, kept=store.features(names, [0] * size).to(device))

    def built() -> None:
        with trainer.precision.compute():
            encode_alike(teacher, batch.images[:1].expand(CHUNK, -1, -1, -1))

    there = read()
    runs: dict[str, Callable[[], object]] = {
        **{"teacher": asked, "student": lambda: step(there)},
        **{"online": lambda: step(batch), "store": lambda: step(read())},
        "built": built,
    }
    found: dict[str, Any] = {"classes": classes, "batch": size}
    if args.only == "time":
        for name in ("store", "online"):  # so that all is warm
            runs[name]()
    else:
        found |= {f"{name} MiB": peak(runs[name], device) for name in ("store", "online")}
    if args.only == "memory":
        return found
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.steps):
        for name, run in runs.items():
            times[name].append(seconds(run, device))
    found |= {name: statistics.median(values) for name, values in times.items()}
    step.require_finite(0, "the benchmark's weights are random")
    found["decoded"], found["decoded together"] = (decoding(trainer.cfg, folder, each) for each in (1, args.views))
    return found | whole(found, args)


def whole(found: dict[str, Any], args: argparse.Namespace) -> dict[str, float]:
    """Hours of whole runs, from the times of their parts; one process decodes, and nothing overlaps."""
    passes, steps = args.images * args.epochs, args.images * args.epochs / found["batch"]
    building = args.images * args.views * (found["decoded together"] + found["built"] / CHUNK) / 3600
    decoded = passes * found["decoded"] / 3600
    return {
        **{"gain": found["online"] / found["store"], "bound": 1 + found["teacher"] / found["student"]},
        **{"run online": decoded + steps * found["online"] / 3600, "building": building},
        "run again": decoded + steps * found["store"] / 3600,
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def shown(found: dict[str, Any]) -> str:
    """One line of the table; - for what was not measured."""
    head = f"| {found['classes']} | {found['batch']} |"
    memory = " | ".join(f"{found[name]:.0f}" if name in found else "-" for name in ("online MiB", "store MiB"))
    if "gain" not in found:
        return f"{head} {memory} |"
    parts = " | ".join(f"{found[name]:.3f}" for name in ("teacher", "student", "online", "store"))
    gains = f"{found['gain']:.2f} | {found['bound']:.2f}"
    first = found["building"] + found["run again"]
    hours = f"{found['run online']:.1f} | {found['building']:.1f} + {found['run again']:.1f}"
    wholes = f"{found['run online'] / first:.2f} | {found['run online'] / found['run again']:.2f}"
    return f"{head} {parts} | {gains} | {memory} | {hours} | {wholes} |"


def parser(description: str | None, classes: list[int]) -> argparse.ArgumentParser:
    """The options that benchmarks of stores share.

    Args:
        description: of the program.
        classes: by default.
    """
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--classes", type=int, nargs="+", default=classes)
    p.add_argument("--steps", type=int, default=3, help="that are timed of each kind, interleaved (default: 3)")
    p.add_argument("--mode", default="fp32", help="precision (default: fp32)")
    p.add_argument("--small", action="store_true", help="small models, to see that it works: times mean nothing")
    p.add_argument("--out", type=Path, metavar="FILE", help="JSON of what was measured")
    return p


def begin(args: argparse.Namespace) -> tuple[torch.device, Models]:
    """Where it is measured, and on what."""
    logging.getLogger("dassl").setLevel(logging.WARNING)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu"), Models(args.small)


def write(args: argparse.Namespace, device: torch.device, measured: list[dict[str, Any]]) -> None:
    """What was measured, where somebody wants it."""
    if args.out is not None:
        write_json(args.out, {"device": str(device), "torch": torch.__version__, "rows": measured})


def main() -> None:
    """Command line."""
    p = parser(__doc__, [100])
    p.add_argument("--batches", type=int, nargs="+", default=[4, 32])
    p.add_argument("--images", type=int, default=10_000, help="of the whole run (default: 10000)")
    p.add_argument("--epochs", type=int, default=20, help="of the whole run (default: 20)")
    p.add_argument("--views", type=int, default=5, help="of each image in the store (default: 5)")
    p.add_argument("--only", choices=("time", "memory"), help="(default: both)")
    args = p.parse_args()
    device, models = begin(args)
    measured: list[dict[str, Any]] = []
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}, {args.mode}; seconds, MiB, hours")
    print(f"whole runs: {args.images} images, {args.epochs} epochs, {args.views} views")
    if args.only == "memory":
        print("| C | batch | online MiB | store MiB |")
    else:
        print(
            "| C | batch | T | S | online | store | gain | 1 + T/S | online MiB | store MiB "
            "| online h | build + run h | in one run | again |"
        )
    for size in args.batches:
        for classes in args.classes:
            with tempfile.TemporaryDirectory() as name:
                measured.append(measure(models, classes, size, args, device, Path(name)))
            print(shown(measured[-1]), flush=True)
    one = measured[-1]
    if args.only != "memory":
        print(
            f"a view: {1000 * one['decoded']:.1f} ms to decode, {1000 * one['decoded together']:.1f} ms where "
            f"{args.views} of an image are cut at once, {1000 * one['built'] / CHUNK:.0f} ms to encode for a store"
        )
    write(args, device, measured)


if __name__ == "__main__":
    main()
