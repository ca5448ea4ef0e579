"""What a GPU does with a step: eager beside one CUDA graph, in one run; a table, and JSON.

    bash benchmarks/device.sh [--out FILE] [--rows NAME ...] [--steps 20] [--mode fp16] [--no-tests] [--peer PATH]

Models have random weights of the published sizes (ViT-B/16, for phase 1 ViT-L/14) and the published settings; nothing
is downloaded. "peak" is the share of what the card reaches in one large product (bfloat16) that the step's products
reach while the card computes. With --peer, a clone of another code base, its step stands beside ours where it has the
method (see benchmarks/peers.py). Without a GPU the same code runs on small models, on the CPU, to see that it works:
those times mean nothing.
"""

from __future__ import annotations

import argparse
import copy
import gc
import importlib.util
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import trainers  # noqa: F401  registers
from caspl.boosting import Header, write_boosting
from caspl.dassl import student
from caspl.files import write_json
from caspl.prompts import normal_tokens
from caspl.step import Batch, Precision, Step
from caspl.step.graph import WARM, CudaRecorder, Recorded
from caspl.teachers import load
from caspl.towers import CLIP, Sizes, random_state_dict
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY
from tests.no_data import without_data
from trainers.registry import extend_cfg

REPO = Path(__file__).resolve().parents[1]
ROWS = (
    ("CoOp", "CoOp/vit_b16", 10, 32), ("CoOp", "CoOp/vit_b16", 100, 32), ("CoOp", "CoOp/vit_b16", 1000, 32),
    ("CoCoOp", "CoCoOp/vit_b16_c4_ep10_batch1_ctxv1", 10, 1), ("CoCoOp", "CoCoOp/vit_b16_c4_ep10_batch1_ctxv1", 100, 1),
    ("MaPLe", "MaPLe/vit_b16_c2_ep5_batch4_2ctx", 100, 4), ("MaPLe", "MaPLe/vit_b16_c2_ep5_batch4_2ctx", 1000, 4),
    ("MPL", "MPL/vit_b4_c1_add2_rm1", 100, 4),
    *(("PromptSRC", "PromptSRC/vit_b16_c2_ep20_batch4_4+4ctx", count, 4) for count in (10, 100, 1000)),
    ("PromptSRC", "PromptSRC/vit_b16_c2_ep20_batch4_4+4ctx", 100, 32),
    *(("CasPL_PromptSRC", "CasPL_PromptSRC/vit_b16_c2_ep20_batch4_8+8ctx_l12", count, 4) for count in (100, 1000)),
    ("CasPL", "CasPL/vit_b16_c2_ep20_batch4_8+8ctx_l12", 100, 4),
    ("CasPL", "CasPL/vit_b16_c2_ep20_batch128_lr0025_8+8ctx_l12", 1000, 128),
)  # fmt: skip
"""Trainer, its published config, classes, batch."""
SECTIONS = {"CasPL": "CASPL", "CasPL_PromptSRC": "PROMPTSRC"}
B16 = Sizes(512, 224, 16, vision_width=768, vision_layers=12, text_width=512, text_layers=12)
L14 = Sizes(768, 224, 14, vision_width=1024, vision_layers=24, text_width=768, text_layers=12)
SMALL = tuple(Sizes(width, 32, 16, 64, 12, 64, 12) for width in (64, 96))
TESTS = ("tests/parity", "tests/trainers/test_matrix.py", "tests/step")
TESTED = 100
"""Images of a test's batch."""


class Models:
    """Random CLIPs, built when first wanted and given out as copies, in place of those that a name would load.

    Args:
        small: for a dry run.
        given: the student, in place of a random one.
    """

    def __init__(self, small: bool = False, given: CLIP | None = None) -> None:
        self._sizes = dict(zip("BL", SMALL if small else (B16, L14), strict=True))
        self._built = {"B": given} if given is not None else {}
        # Sizes and pixels are looked at by name; these have none.
        student.load_clip = load.load_clip = lambda name: copy.deepcopy(self.of("L" if "L/14" in name else "B"))
        student.weights_hash = load.weights_hash = lambda clip: f"random {clip.sizes.embed_dim}"

    def of(self, name: str) -> CLIP:
        """``B``: the student; ``L``: the teacher."""
        if name not in self._built:
            self._built[name] = CLIP.from_state_dict(random_state_dict(self._sizes[name]))
        return self._built[name]

    @property
    def resolution(self) -> int:
        """Of the student's images."""
        return self.of("B").sizes.resolution


def trainer_of(models: Models, row: Sequence[Any], mode: str, device: torch.device, folder: Path) -> Any:
    """The trainer of a row, ready for steps."""
    name, config, classes, _ = row
    cfg = get_cfg_default()
    extend_cfg(cfg)
    cfg.merge_from_file(str(REPO / "configs/trainers" / f"{config}.yaml"))
    section = SECTIONS.get(name, name.upper())
    cfg.TRAINER.NAME, cfg.TRAINER[section].PREC, cfg.SEED = name, mode, 1
    cfg.USE_CUDA, cfg.OUTPUT_DIR = device.type == "cuda", str(folder / "run")
    cfg.INPUT.SIZE = (models.resolution, models.resolution)
    if models.resolution != 224:
        cfg.MODEL.BACKBONE.NAME = "small"  # no published name, no published size of images
    names = [f"class number {number}" for number in range(classes)]
    if name.startswith("CasPL_"):
        cfg.TRAINER.CASPL.BOOSTING = str(_boosting(models.of("B").sizes, names, cfg.MODEL.BACKBONE.NAME, folder))
    torch.manual_seed(1)
    made = without_data(TRAINER_REGISTRY.get(name), names)(cfg)
    made.start()
    return made


def _boosting(sizes: Sizes, names: Sequence[str], student_name: str, folder: Path) -> Path:
    header = Header(student_name, f"random {sizes.embed_dim}", "L", "", tuple(names), "a photo of a {}.", 1, 20, 1.0)
    text, vision = normal_tokens(12, 8, sizes.text_width), normal_tokens(12, 8, sizes.vision_width)
    return write_boosting(folder / "boosting.safetensors", header, text, vision)


def batch_of(models: Models, count: int, classes: int, device: torch.device) -> Batch:
    images = torch.randn(count, 3, models.resolution, models.resolution, device=device)
    return Batch(images, torch.arange(count, device=device) % classes)


def milliseconds(run: Callable[[], object], steps: int, device: torch.device) -> float:
    """Median over some; the device is waited for at both ends of each."""
    for _ in range(WARM + 3):  # a recording is made and compared in these
        run()
    took = []
    for _ in range(steps):
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        took.append(1000 * (time.perf_counter() - start))
    return statistics.median(took)


def kernels(run: Callable[[], object], device: torch.device) -> tuple[int, float]:
    """How many kernels run, and the sum of their times in ms; nothing of it on a CPU."""
    if device.type != "cuda":
        return 0, 0.0
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        run()
        _wait(device)
    on_card = [event for event in seen.events() if event.device_type.name == "CUDA" and "Mem" not in event.name]
    return len(on_card), sum(event.device_time for event in on_card) / 1000


def products(run: Callable[[], object]) -> float:
    """Floating-point operations of the matrix products, attention and convolutions of a run, in 1e12."""
    with FlopCounterMode(display=False) as counted:
        run()
    return counted.get_total_flops() / 1e12


def peak(device: torch.device, size: int = 8192) -> float:
    """1e12 operations a second that one large product reaches, in bfloat16."""
    if device.type != "cuda":
        return 0.0
    one = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    return 2 * size**3 / 1e9 / milliseconds(lambda: one @ one, 10, device)


def peer_step(peer: Path, row: Sequence[Any], mode: str, steps: int, weights: Path) -> dict[str, Any]:
    """The step of another code base's trainer of that name, if it has one; both rows are of the same settings."""
    from benchmarks.peers import ROWS as ROWS_OF_PEERS
    from benchmarks.peers import UNMEASURED_ON_A_GPU, Stepper, arguments_of

    name, config, classes, count = row
    if ROWS_OF_PEERS.get(name, ("",))[0] != config:
        return {}
    try:
        given = arguments_of(weights, classes, count, mode, B16.resolution, "cuda")
        stepper = Stepper(name, config, [*given, "--checkout", str(peer)], weights / "peer.log")
        for _ in range(UNMEASURED_ON_A_GPU):
            stepper.ask("step")
        found = {"peer memory": stepper.ask("memory")}
        found["peer"] = statistics.median([stepper.ask("step") for _ in range(steps)])
        stepper.close()
    except RuntimeError as error:
        return {"peer failed": str(error)}
    return found


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def step_row(
    models: Models, row: Sequence[Any], mode: str, steps: int, device: torch.device, folder: Path
) -> dict[str, Any]:
    """Measure the step of a row, eager and recorded."""
    name, _, classes, count = row
    found: dict[str, Any] = {"row": name, "classes": classes, "batch": count, "mode": mode}
    batch = batch_of(models, count, classes, device)
    for what in ("eager", "graph") if device.type == "cuda" else ("eager",):
        trainer = trainer_of(models, row, mode, device, folder)
        recorder = CudaRecorder(device) if what == "graph" else None
        step = Step(trainer.model, trainer.losses, trainer.optim, trainer.precision, trainer.step.metrics, recorder)
        step.begin_epoch()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        weights = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        found[what] = milliseconds(lambda step=step: step(batch), steps, device)
        if what == "eager" and device.type == "cuda":
            found["memory"] = (torch.cuda.max_memory_allocated(device) - weights) / 2**20
            found["kernels"], found["card"] = kernels(lambda step=step: step(batch), device)
            found["products"] = products(lambda step=step: step(batch))
        recorded = step._recorded
        if recorded is not None:
            found["recorded"] = "yes" if recorded.trusted else recorded.reason
        step.require_finite(0, "the benchmark's weights are random")
        del trainer, step
        gc.collect()  # a trainer and its step know each other
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return found


def test_row(models: Models, classes: int, mode: str, steps: int, device: torch.device, folder: Path) -> dict[str, Any]:
    """Measure a test's batch, eager and recorded."""
    trainer = trainer_of(models, ("CoOp", "CoOp/vit_b16", classes, 1), mode, device, folder)
    precision: Precision = trainer.precision
    classifier = trainer.model.fixed()
    images = batch_of(models, TESTED, classes, device).images

    @torch.no_grad()
    def work(images: Tensor) -> list[Tensor]:
        with precision.compute():
            return [classifier(images)]

    found: dict[str, Any] = {"row": "test", "classes": classes, "batch": TESTED, "mode": mode}
    found["eager"] = milliseconds(lambda: work(images), steps, device)
    if device.type == "cuda":
        found["kernels"], found["card"] = kernels(lambda: work(images), device)
        found["products"] = products(lambda: work(images))
        recorded = Recorded(work, CudaRecorder(device), "the test", computes=precision.computes)
        with torch.no_grad():
            found["graph"] = milliseconds(lambda: recorded(images), steps, device)
        found["recorded"] = "yes" if recorded.trusted else recorded.reason
    return found


def share(found: dict[str, Any], most: float) -> dict[str, float]:
    """How much of the card's peak the products reach, while it computes."""
    return {"peak": found["products"] / (found["card"] / 1000) / most} if found.get("card") and most else {}


def write_once(folder: Path) -> Path:
    """The folder of the weights that another code base reads."""
    from benchmarks.peers import write_weights

    return folder if (folder / "ViT-B-16.pt").exists() else write_weights(folder, small=False)


def shown(found: dict[str, Any]) -> str:
    """One line of the table."""
    numbers = [f"{found[name]:9.2f}" if name in found else "        -" for name in ("eager", "graph", "card")]
    rest = [f"{found.get('kernels', 0):6d}", f"{found.get('memory', 0):8.0f}", f"{found.get('peak', 0):6.0%}"]
    rest += [f"{found['peer']:9.2f}" if "peer" in found else "        -", found.get("recorded", "-")]
    return f"{found['row']:<16}{found['classes']:>6}{found['batch']:>5} " + " ".join([*numbers, *rest])


def tested() -> None:
    """Run what must hold on the card: parity, all trainers in all precisions, graph beside eager."""
    if importlib.util.find_spec("pytest") is None:
        print("no pytest here: the tests are left out", flush=True)
        return
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    code = subprocess.run(line, cwd=REPO, env=os.environ | {"CASPL_TEST_DEVICE": "cuda"}, check=False).returncode
    print("tests have failed: see above; times follow" if code else "all tests hold on the card", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, metavar="FILE", help="JSON of what was measured")
    p.add_argument("--rows", nargs="+", default=[], metavar="NAME", help="only those of these trainers, or test")
    p.add_argument("--steps", type=int, default=20, help="that are timed in each row (default: 20)")
    p.add_argument("--mode", default="fp16", help="precision (default: fp16)")
    p.add_argument("--peer", type=Path, metavar="PATH", help="clone of another code base, to stand beside ours")
    p.add_argument("--no-tests", action="store_true", help="times alone")
    args = p.parse_args(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    small = device.type == "cpu"
    if args.peer is not None and not (args.peer / "train.py").is_file():
        p.error(f"{args.peer} is no checkout of a prompt-learning code base: there is no train.py")
    if small:
        print("no GPU here: this is a dry run on the CPU")
    elif not args.no_tests:
        tested()
    models = Models(small)
    steps = 1 if small else args.steps
    logging.getLogger("dassl").setLevel(logging.WARNING)
    where = "CPU, small models: a dry run, whose times mean nothing"
    if not small:
        where = torch.cuda.get_device_name(device)
    print(f"{where}; torch {torch.__version__}; ms a step, median of {steps}")
    titles = "     eager     graph      card kernels  memory MB   peak      peer  recorded"
    print(f"{'':<16}{'classes':>6}{'batch':>5}{titles}")
    rows = [row for row in ROWS if not args.rows or row[0] in args.rows]
    measured = []
    most = peak(device)
    if most:
        print(f"one large product in bfloat16: {most:.0f} TFLOP/s")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for row in rows:
            given = (row[0], row[1], min(row[2], 20), min(row[3], 4)) if small else row
            found = step_row(models, given, args.mode, steps, device, folder)
            if args.peer is not None and not small:
                found |= peer_step(args.peer.resolve(), row, args.mode, steps, write_once(folder))
            measured.append(found | share(found, most))
            print(shown(measured[-1]), flush=True)
        for classes in (100, 1000) if not args.rows or "test" in args.rows else ():
            found = test_row(models, 20 if small else classes, args.mode, steps, device, folder)
            measured.append(found | share(found, most))
            print(shown(measured[-1]), flush=True)
    if args.out is not None:
        write_json(args.out, {"device": where, "torch": torch.__version__, "tflops": most, "rows": measured})
    return 0


if __name__ == "__main__":
    sys.exit(main())
