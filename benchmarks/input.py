"""The PIL path of the images beside the tensor path and the cached one: whole passes of loaders, in one run.

python benchmarks/input.py [--size 500x375] [--images 64] [--repeats 5]     photographs made for the purpose
python benchmarks/input.py --folder data/oxford_pets/images                 the first images of a folder

On one core and one thread: read, decode, transform, normalise, collate. Times are the process's own CPU seconds, which
other work on the machine changes little. With --workers 0 2 4 images per second of wall time are printed too, for each
number of a loader's workers, batches of --batch: what a step on a GPU can be fed with.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from dassl.config import get_cfg_default
from dassl.data.data_manager import build_data_loader
from dassl.data.datasets import Datum
from dassl.data.transforms import build_transform

WAYS = {"pil": ("pil", False), "tensor": ("tensor", False), "cached": ("tensor", True)}


def photographs(folder: Path, count: int, size: tuple[int, int], quality: int) -> list[Path]:
    """JPEGs of (width, height): scikit-learn's two photographs, each time another part of one; else soft noise."""
    rng = np.random.default_rng(0)
    try:
        from sklearn.datasets import load_sample_images

        sources = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    except ImportError:
        sources = [Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).resize((640, 427))]
    paths = []
    for number in range(count):
        source = sources[number % len(sources)]
        part = rng.uniform(0.8, 1)
        width, height = part * source.width, part * source.height
        left, top = rng.uniform(0, source.width - width), rng.uniform(0, source.height - height)
        box = (left, top, left + width, top + height)
        paths.append(folder / f"{number}.jpg")
        source.resize(size, Image.Resampling.BICUBIC, box).save(paths[-1], quality=quality)
    return paths


def config(backend: str, cached: bool, cache_dir: Path, workers: int = 0) -> CfgNode:
    """The published input settings of the CLIP methods."""
    cfg = get_cfg_default()
    cfg.SEED = 1
    cfg.INPUT.BACKEND = backend
    cfg.INPUT.INTERPOLATION = "bicubic"
    cfg.INPUT.TRANSFORMS = ("random_resized_crop", "random_flip", "normalize")
    cfg.INPUT.PIXEL_MEAN = [0.48145466, 0.4578275, 0.40821073]
    cfg.INPUT.PIXEL_STD = [0.26862954, 0.26130258, 0.27577711]
    cfg.DATALOADER.NUM_WORKERS = workers
    cfg.DATALOADER.CACHE_BYTES = 2**40 if cached else 0
    cfg.DATALOADER.CACHE_DIR = str(cache_dir)
    return cfg


def loader(cfg: CfgNode, items: Sequence[Datum], train: bool, batch: int = 32) -> DataLoader[dict[str, Any]]:
    """Batches, in order."""
    return build_data_loader(
        cfg, data_source=items, batch_size=batch, tfm=build_transform(cfg, is_train=train), is_train=train
    )


def fed(paths: Sequence[Path], workers: int, batch: int, repeats: int, cache_dir: Path) -> dict[str, float]:
    """Images a second that training loaders give, in wall time, the passes of one in turn with those of the others."""
    items = [Datum(str(path)) for path in paths]
    ways = {way: loader(config(*settings, cache_dir, workers), items, True, batch) for way, settings in WAYS.items()}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(1 + repeats):
        for way, batches in ways.items():
            start = time.perf_counter()
            seen = sum(len(some["img"]) for some in batches)
            if number:  # the first starts workers, and fills our cache
                times[way].append(seen / (time.perf_counter() - start))
    return {way: statistics.median(found) for way, found in times.items()}


def seconds(ways: dict[str, DataLoader[dict[str, Any]]]) -> dict[str, list[float]]:
    """CPU seconds an image, batch by batch: first one way, then the next, so that all see the same machine."""
    passes = {way: iter(batches) for way, batches in ways.items()}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(len(next(iter(ways.values())))):
        for way, batches in passes.items():
            start = time.process_time()
            batch = next(batches)
            times[way].append((time.process_time() - start) / len(batch["img"]))
    return times


def levels(a: DataLoader[dict[str, Any]], b: DataLoader[dict[str, Any]], std: Sequence[float]) -> tuple[float, float]:
    """Largest and mean difference of two loaders' images, in grey levels of 255."""
    scale = 255 * torch.tensor(std).view(3, 1, 1)
    parts = [((x["img"] - y["img"]) * scale).abs() for x, y in zip(a, b, strict=True)]
    return max(part.max().item() for part in parts), statistics.fmean(part.mean().item() for part in parts)


def compare(name: str, paths: Sequence[Path], repeats: int, cache_dir: Path) -> None:
    """Print a line for each way, in training and test."""
    items = [Datum(str(path)) for path in paths]
    for train in (True, False):
        ways = {way: loader(config(*settings, cache_dir), items, train) for way, settings in WAYS.items()}
        seconds(ways)  # once unmeasured: imports, page cache, our cache
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(repeats):
            for way, found in seconds(ways).items():
                times[way] += found
        print(f"{name}, {'training' if train else 'test'} transform, images/s on one core, medians:")
        for way, found in times.items():
            ratio = statistics.median(pil / own for pil, own in zip(times["pil"], found, strict=True))
            print(f"  {way:6}  {1 / statistics.median(found):5.0f}   x {ratio:.2f}")
        if not train:
            std = config("pil", False, cache_dir).INPUT.PIXEL_STD
            largest, mean = levels(ways["pil"], ways["tensor"], std)
            print(f"  pil - tensor: at most {largest:.2f} grey levels, {mean:.4f} in the mean", end="; ")
            print(f"tensor - cached: at most {levels(ways['tensor'], ways['cached'], std)[0]:.2f}")


def measure(name: str, paths: Sequence[Path], args: argparse.Namespace, cache_dir: Path) -> None:
    """Print what was asked for."""
    if not args.workers:
        compare(name, paths, args.repeats, cache_dir)
        return
    print(f"{name}, training transform, batches of {args.batch}, images/s, {os.cpu_count()} cores:")
    for workers in args.workers:
        found = fed(paths, workers, args.batch, args.repeats, cache_dir)
        print(f"  {workers} workers: " + ", ".join(f"{way} {value:.0f}" for way, value in found.items()), flush=True)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--size", action="append", metavar="WxH", help="of the photographs; may be repeated")
    p.add_argument("--quality", type=int, default=92, help="of their JPEGs")
    p.add_argument("--folder", type=Path, help="take the images below this folder instead")
    p.add_argument("--workers", type=int, nargs="+", default=[], help="of a loader: images a second for each number")
    p.add_argument("--batch", type=int, default=4, help="of these loaders (default: 4, as PromptSRC's)")
    for name, value in (("images", 64), ("repeats", 5)):
        p.add_argument(f"--{name}", type=int, default=value)
    args = p.parse_args()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity") and not args.workers:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    logging.getLogger("dassl").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.folder:
            found = sorted(path for path in args.folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
            if not found:
                p.error(f"there are no .jpg, .jpeg or .png files below {args.folder}")
            measure(str(args.folder), found[: args.images], args, folder)
            return
        for size in args.size or ["500x375"]:
            width, height = (int(side) for side in size.split("x"))
            made = folder / size
            made.mkdir()
            measure(size, photographs(made, args.images, (width, height), args.quality), args, folder / "cache")


if __name__ == "__main__":
    main()
