"""Our step beside that of another code base: time and memory, in one run, step by step in turn.

python benchmarks/peers.py --peer PATH [--rows PromptSRC MaPLe ...] [--classes 100] [--steps 5] [--mode fp32]

PATH is a clone of PromptSRC, MaPLe (multimodal-prompt-learning) or CoOp; its trainers run as they are, on our engine,
with the published settings, on the same random weights of ViT-B/16 and the same images. Nothing of it is part of this
project. "limit" is how many times fewer operations our matrix products have. On a CPU, memory is what a step's forward
pass keeps for the backward pass; on a GPU the peak beyond what is there before.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.device import B16
from benchmarks.one_step import MARK
from caspl.files import write_json
from caspl.towers import Sizes, random_state_dict

REPO = Path(__file__).resolve().parents[1]
ROWS = {
    "CoOp": ("CoOp/vit_b16", 32),
    "CoCoOp": ("CoCoOp/vit_b16_c4_ep10_batch1_ctxv1", 1),
    "MaPLe": ("MaPLe/vit_b16_c2_ep5_batch4_2ctx", 4),
    "PromptSRC": ("PromptSRC/vit_b16_c2_ep20_batch4_4+4ctx", 4),
}
"""Trainer -> its published config, which both have under the same name, and its batch."""
SMALL = Sizes(512, 64, 16, vision_width=768, vision_layers=12, text_width=512, text_layers=12)
"""Releases have the widths in their code."""
UNMEASURED = 2
"""Steps before the first that is timed."""
UNMEASURED_ON_A_GPU = 8
"""There a recording is made and compared in them."""


class Stepper:
    """A process of benchmarks/one_step.py.

    Raises:
        RuntimeError: it ends before it answers; its last words.
    """

    def __init__(self, trainer: str, config: str, arguments: Sequence[str], log: Path) -> None:
        self.log = log
        path = os.pathsep.join([str(REPO), str(REPO / "engine/src")])
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.one_step", trainer, config, *arguments]
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                command, env=os.environ | {"PYTHONPATH": path}, text=True, stderr=errors,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
        self._answer()

    def ask(self, what: str) -> float:
        """``step``: milliseconds; ``memory``: MiB."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()

    def _answer(self) -> float:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(MARK):
                return float(line.split()[1])
        self.process.wait()
        words = self.log.read_text().strip().splitlines() or [f"exit code {self.process.returncode}"]
        raise RuntimeError(words[-1])


def write_weights(folder: Path, small: bool) -> Path:
    """A random ViT-B/16 under the name of OpenAI's file, of numbers that half precision holds exactly."""
    state = random_state_dict(SMALL if small else B16)
    torch.save({key: value.half().float() for key, value in state.items()}, folder / "ViT-B-16.pt")
    return folder


def arguments_of(weights: Path, classes: int, count: int, mode: str, resolution: int, device: str) -> list[str]:
    """For a :class:`Stepper`."""
    given = ["--weights", str(weights), "--classes", str(classes), "--batch", str(count), "--mode", mode]
    return [*given, "--resolution", str(resolution), "--device", device]


def side_by_side(
    name: str, peer: Path, weights: Path, classes: int, mode: str, steps: int, resolution: int, device: str
) -> dict[str, Any]:
    """One row: medians of both, of their ratio step by step, and memory; ``failed`` where one of them does not run."""
    config, count = ROWS[name]
    given = arguments_of(weights, classes, count, mode, resolution, device)
    found: dict[str, Any] = {"row": name, "classes": classes, "batch": count, "mode": mode}
    open_: dict[str, Stepper] = {}
    try:
        for who, more in (("ours", []), ("peer", ["--checkout", str(peer)])):
            try:
                open_[who] = Stepper(name, config, [*given, *more], weights / f"{who}.log")
            except RuntimeError as error:
                return found | {"failed": f"{who}: {error}"}
        for who, stepper in open_.items():
            for _ in range(UNMEASURED if device == "cpu" else UNMEASURED_ON_A_GPU):
                stepper.ask("step")
            found[f"{who} MiB"] = stepper.ask("memory")
            found[f"{who} TFLOP"] = stepper.ask("products")
        times: dict[str, list[float]] = {who: [] for who in open_}
        for _ in range(steps):
            for who, stepper in open_.items():
                times[who].append(stepper.ask("step"))
    except RuntimeError as error:
        return found | {"failed": str(error)}
    finally:
        for stepper in open_.values():
            stepper.close()
    ratios = sorted(other / own for own, other in zip(times["ours"], times["peer"], strict=True))
    found |= {who: statistics.median(took) for who, took in times.items()}
    return found | {"ratio": statistics.median(ratios), "least": ratios[0], "most": ratios[-1]}


def shown(found: dict[str, Any]) -> str:
    """One line of the table, as Markdown."""
    start = f"| {found['row']} | {found['classes']} | {found['batch']} |"
    if "failed" in found:
        return f"{start} {found['failed']} |"
    times = f" {found['ours']:.0f} | {found['peer']:.0f} | {found['ratio']:.1f} ({found['least']:.1f} to"
    memory = f" {found['ours MiB']:.0f} | {found['peer MiB']:.0f} |"
    limit = f" {found['peer TFLOP'] / found['ours TFLOP']:.1f} |"
    return f"{start}{times} {found['most']:.1f}) |{limit}{memory}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--peer", type=Path, required=True, metavar="PATH", help="clone of the other code base")
    p.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS, metavar="NAME", help="only these trainers")
    p.add_argument("--classes", type=int, nargs="+", default=[100])
    p.add_argument("--steps", type=int, default=5, help="that are timed of each (default: 5)")
    p.add_argument("--mode", default="fp32", help="precision (default: fp32)")
    p.add_argument("--small", action="store_true", help="images of 64 x 64, to try the command")
    p.add_argument("--out", type=Path, metavar="FILE", help="JSON of what was measured")
    args = p.parse_args(arguments)
    if not (args.peer / "train.py").is_file():
        p.error(f"{args.peer} is no checkout of a prompt-learning code base: there is no train.py")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}, {args.mode}; {args.peer.name}")
    print(
        "| | classes | batch | ours, ms | theirs, ms | times faster (least to most) | limit | ours, MiB | theirs, MiB |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    rows = []
    resolution = SMALL.resolution if args.small else B16.resolution
    with tempfile.TemporaryDirectory() as name:
        weights = write_weights(Path(name), args.small)
        for row in args.rows:
            for classes in args.classes:
                more = (classes, args.mode, args.steps, resolution, device)
                rows.append(side_by_side(row, args.peer.resolve(), weights, *more))
                print(shown(rows[-1]), flush=True)
    if args.out is not None:
        write_json(args.out, {"device": device, "torch": torch.__version__, "rows": rows})
    return int(any("failed" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main())
