"""Train or evaluate a prompt learning method, e.g.

python train.py --trainer CasPL --seed 1 --output-dir output/boost \\
    --dataset-config-file configs/datasets/tinysat.yaml --config-file configs/trainers/CasPL/tiny.yaml
python train.py --trainer CasPL_PromptSRC --seed 1 --output-dir output/adapt \\
    --dataset-config-file configs/datasets/tinysat.yaml --config-file configs/trainers/PromptSRC/tiny.yaml \\
    DATASET.NUM_SHOTS 16 DATASET.SUBSAMPLE_CLASSES base
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from caspl.errors import CasPLError, OthersFailed


def parser() -> argparse.ArgumentParser:
    """The field's flags; every other setting is a KEY VALUE pair or stands in a config file."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--trainer", help="e.g. CoOp, PromptSRC, CasPL (phase 1), CasPL_PromptSRC (phase 2)")
    p.add_argument("--dataset-config-file", metavar="YAML", help="one of configs/datasets/")
    p.add_argument("--config-file", metavar="YAML", help="one of configs/trainers/<method>/")
    p.add_argument("--root", metavar="DIR", help="folder of the data sets (default: $DATA, else data)")
    p.add_argument("--output-dir", metavar="DIR", help="log, checkpoints and result.json (default: output)")
    p.add_argument("--seed", type=int, help="0 or more; without it nothing is seeded")
    p.add_argument(
        "--plugin", action="append", default=[], metavar="FILE", help="a .py file with a trainer of your own"
    )
    p.add_argument("--backbone", help="the student: ViT-B/16, tiny-student, a weights file, ...")
    p.add_argument("--eval-only", action="store_true", help="evaluate the checkpoint in --model-dir")
    p.add_argument("--model-dir", metavar="DIR", default="", help="run folder to load for --eval-only")
    p.add_argument("--load-epoch", type=int, help="checkpoint to load (default: the best, else the last)")
    p.add_argument("--save-predictions", action="store_true", help="the answer to each test image, as predictions.csv")
    p.add_argument("--no-train", action="store_true", help="only build everything")
    p.add_argument("--build-store", action="store_true", help="only fill the store of features (docs/store.md)")
    p.add_argument("--resume", metavar="DIR", help="continue the run of another folder")
    p.add_argument("--source-domains", nargs="+", help="for domain data sets")
    p.add_argument("--target-domains", nargs="+", help="for domain data sets")
    p.add_argument("--transforms", nargs="+", help="image transforms, instead of the config's")
    p.add_argument("--head", help="kept for compatibility")
    p.add_argument("opts", nargs="*", metavar="KEY VALUE", help="config pairs, e.g. DATASET.NUM_SHOTS 16")
    return p


def run(args: argparse.Namespace) -> None:
    """Do what the flags ask for."""
    import datasets  # noqa: F401  the imports register data sets and trainers; they are late, for --help
    from caspl.group import Group
    from trainers import session
    from trainers.config import build_cfg
    from trainers.user_modules import load_plugins

    with Group.join().in_turn():
        cfg = build_cfg(args, load_plugins(args.plugin))
    session.run(cfg, args)


def _refuse(sentence: str) -> int:
    # In one piece, since several processes may speak at once.
    sys.stderr.write(f"error: {' '.join(sentence.split())}\n")
    return 2


def _sentence(error: OSError, folder: str | None) -> str:
    if error.strerror:
        return f"{error.strerror}: {error.filename or folder or 'output'}"
    # What a data loader's worker raised comes with its traceback in front of its own words.
    return str(error).strip().splitlines()[-1].split("Error: ", 1)[-1]


@contextmanager
def _ended_by_sigterm_too() -> Iterator[None]:
    """Let SIGTERM end a run as Ctrl-C does: clusters send it before they kill."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # nobody else may
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code: 0, 2 for wrong input, 130 when interrupted."""
    args = parser().parse_intermixed_args(argv)
    try:
        with _ended_by_sigterm_too():
            run(args)
    except OthersFailed:  # which have said why
        return 2
    except CasPLError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(_sentence(error, args.output_dir))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from the last finished epoch\n")
        return 130
    return 0


def _leave() -> None:
    from caspl.group import Group

    Group.join().leave()


if __name__ == "__main__":
    code = main()
    if code == 0:
        _leave()
    sys.exit(code)
