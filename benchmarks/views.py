"""How good boosting tokens become with few views of each image: HM on the tiny benchmark against the number of views.

PYTHONPATH=. python benchmarks/views.py --output output/views --views 1 2 5 10 20 --seeds 1 2 3

Phase 1 as shipped for tinysat (20 epochs), but with random boxes of 0.6 to 1 of the area and flips; all runs read one
store. What is tested is boosting alone (CasPL_ZeroshotCLIP), on the base and on the new classes of the test split.
About a minute a run on one core. Finished runs are skipped, so that the command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import train
from caspl.results.record import FILE_NAME, read_record

REPO = Path(__file__).resolve().parents[1]
CROPS = ["INPUT.TRANSFORMS", "('random_resized_crop','random_flip','normalize')", "INPUT.RRCROP_SCALE", "(0.6, 1.0)"]


def done(trainer: str, out: Path, seed: int, args: argparse.Namespace, *more: str) -> Path:
    """Run, unless that was done; returns the run's folder."""
    config = f"{trainer.removeprefix('CasPL_')}/tiny.yaml"
    line = ["--root", str(args.root), "--trainer", trainer, "--seed", str(seed), "--output-dir", str(out)]
    line += ["--config-file", str(REPO / "configs/trainers" / config)]
    line += ["--dataset-config-file", str(REPO / "configs/datasets/tinysat.yaml"), *more]
    if not (out / FILE_NAME).is_file() and train.main(line):
        raise SystemExit(f"the run in {out} failed")
    return out


def measured(views: int, seed: int, args: argparse.Namespace) -> tuple[float, float]:
    """Accuracy on the base and the new classes, in percent."""
    folder = args.output / f"views{views}" / f"seed{seed}"
    boosting = ("TRAINER.CASPL.BOOSTING_DIR", str(folder / "boosting"), "TRAINER.CASPL.BOOSTING_SEED", str(seed))
    store = ("TRAINER.CASPL.VIEWS", str(views), "TRAINER.CASPL.STORE", str(args.output / "store"))
    done("CasPL", folder / "phase1", seed, args, *boosting, *store, *CROPS)
    found = []
    for classes in ("base", "new"):
        tested = done(
            "CasPL_ZeroshotCLIP", folder / classes, seed, args, *boosting, "DATASET.SUBSAMPLE_CLASSES", classes
        )
        found.append(read_record(tested / FILE_NAME).accuracy or 0.0)
    return found[0], found[1]


def row(views: int, pairs: list[tuple[float, float]]) -> str:
    """A line of the table: means, and the standard deviation of HM over the seeds."""
    means = [statistics.mean(values) for values in zip(*pairs, strict=True)]
    each = [2 * base * new / (base + new) for base, new in pairs]
    spread = f"{statistics.stdev(each):.2f}" if len(each) > 1 else "-"
    listed = ", ".join(f"{value:.2f}" for value in each)
    return f"| {views} | {means[0]:.2f} | {means[1]:.2f} | {statistics.mean(each):.2f} | {spread} | {listed} |"


def main() -> int:
    """Command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--output", type=Path, default=Path("output/views"), help="folder of the runs")
    p.add_argument("--root", type=Path, default=Path("data"), help="folder of the data; tinysat is drawn into it")
    p.add_argument("--views", type=int, nargs="+", default=[1, 2, 5, 10, 20])
    p.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    args = p.parse_args()
    rows = []
    for views in args.views:
        rows.append(row(views, [measured(views, seed, args) for seed in args.seeds]))
        print(rows[-1], file=sys.stderr, flush=True)
    print("\n".join(["| views | base | new | HM | spread | HM of each seed |", "| --- " * 6 + "|", *rows]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
