"""``caspl fit DIR -o RUN``: from a folder of pictures to a trained model, by a checkout's ``train.py``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from caspl.commands.model import read_classes
from caspl.commands.stages import Checkout, Stage, length, pairs_of, section_of
from caspl.errors import CasPLError, hint
from caspl.pixels import pixels_of
from caspl.predictor.images import pictures_below
from caspl.results.record import FILE_NAME, read_record
from caspl.step import Precision
from caspl.teachers import load_encoder
from caspl.zoo import SHIPPED, load_clip

LOOK, BOOST, TOKENS = "look", "boost", "tokens"
"""Folders in the run: of zero-shot CLIP, of phase 1, and of its boosting file."""


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="caspl fit",
        description="Look at a folder of pictures (docs/your-data.md says what it may hold), boost and adapt a CLIP "
        "for its classes, and test it on the held-out ones. The same command goes on where it was ended.",
    )
    add = made.add_argument
    add("root", type=Path, metavar="DIR", help="one folder of pictures for each class, or another form of your data")
    add("-o", "--output", required=True, type=Path, metavar="RUN", help="folder of the run, made if not there")
    add("--student", default="ViT-B/16", metavar="CLIP", help="the model to be trained (default: %(default)s)")
    add("--teacher", default="ViT-L/14", metavar="CLIP", help="the larger one that boosts it (default: %(default)s)")
    add("--method", default="PromptSRC", help="that adapts (default: %(default)s); see caspl.list_methods()")
    add("--shots", type=int, default=16, metavar="K", help="labelled pictures a class; -1: all (default: 16)")
    add("--unlabelled", type=Path, metavar="DIR", help="more pictures; phase 1 then looks at these alone")
    add("--classes", type=Path, metavar="TXT", help="DIR holds no labels: boost for these names, one a line, and end")
    add("--template", default="", metavar="TEXT", help='what a picture is, e.g. "a photo of a {}, a type of flower."')
    add("--epochs", type=int, metavar="N", help="of each phase (default: what fits the pictures and the machine)")
    add("--seed", type=int, default=1, metavar="N", help="(default: 1)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)
    checkout = Checkout.here()
    _check(options, checkout)
    stages = plan(options, checkout)
    try:
        for stage in stages:
            stage.run(checkout)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last finished epoch", file=sys.stderr)
        return 130
    run = options.output
    if options.classes is not None:
        print(f"boosted for {len(read_classes([str(options.classes)]) or [])} classes, without labels to test it by")
        run = run / BOOST
    else:
        records = [read_record(stage.folder / FILE_NAME) for stage in stages]
        print(f"accuracy on {records[-1].test_images} held-out pictures:")
        for name, record in zip(("zero-shot", "boosted", "adapted"), records, strict=True):
            accuracy = "none" if record.accuracy is None else f"{record.accuracy:.1f}%"
            print(f"  {name:<10} {accuracy:>6}")
    print(f"use it: caspl predict {run} PICTURE, or on a page: caspl demo {run}")
    return 0


def plan(options: argparse.Namespace, checkout: Checkout) -> list[Stage]:
    """The runs that it takes, one after the other.

    Raises:
        CasPLError: a model cannot be had, or there are no pictures.
    """
    root, output = options.root.resolve(), options.output.resolve()
    tiny = options.student in SHIPPED
    student = load_clip(options.student)
    load_encoder(
        options.teacher, Precision("fp32", torch.device("cpu"))
    )  # now rather than after the first run, should it not be there
    cuda = torch.cuda.is_available()
    limited = not cuda and not tiny
    common = [
        *("--root", str(root), "--seed", str(options.seed), "--backbone", options.student),
        *("--dataset-config-file", "configs/datasets/folder.yaml"),
    ]
    pairs = pairs_of(pixels_of(options.student, student.sizes))
    pairs += ["DATASET.TEMPLATE", options.template] if options.template else []
    pairs += [] if cuda else ["DATALOADER.NUM_WORKERS", "0"]
    boosting_data = ["DATASET.FOLDER.UNLABELLED", str(options.unlabelled.resolve())] if options.unlabelled else []
    if options.classes is not None:
        names = ["DATASET.FOLDER.CLASSES", str(options.classes.resolve())]
        boosting_data = ["DATASET.NAME", "Pictures", *names, "TEST.NO_TEST", "True"]
    tokens = output / BOOST / TOKENS
    seen = len(pictures_below(options.unlabelled or root))

    def stage(title: str, folder: Path, method: str, pictures: int, trainer: str, *more: str) -> Stage:
        config = checkout.config(method, tiny)
        batch, epochs = length(pictures, limited)
        trained = ["OPTIM.MAX_EPOCH", str(options.epochs or epochs), "TRAIN.PRINT_FREQ", "5"]
        # MaPLe and others have batch sizes of their own.
        trained += ["DATALOADER.TRAIN_X.BATCH_SIZE", str(batch)] if method == "CasPL" else []
        precision = [f"TRAINER.{section_of(config)}.PREC", "amp" if cuda else "fp32"]
        words = [*common, "--trainer", trainer, "--config-file", str(config), *pairs, *precision, *trained, *more]
        made = (tokens, "**/*.safetensors") if method == "CasPL" else None
        return Stage(title, folder, tuple(words), made)

    boost = stage(
        *("phase 1, boosting", output / BOOST, "CasPL", seen, "CasPL"),
        *("TRAINER.CASPL.TEACHER", options.teacher, "TRAINER.CASPL.BOOSTING_DIR", str(tokens), *boosting_data),
    )
    if options.classes is not None:
        return [boost]
    look = stage("zero-shot CLIP", output / LOOK, "ZeroshotCLIP", seen, "ZeroshotCLIP")
    labelled = len(pictures_below(root)) // 2  # half of each class trains, where nothing else is said
    adapt = stage(
        *("phase 2, adapting", output, options.method, labelled, f"CasPL_{options.method}"),
        *("TRAINER.CASPL.BOOSTING_DIR", str(tokens), "TRAINER.CASPL.BOOSTING_SEED", str(options.seed)),
        *("DATASET.NUM_SHOTS", str(options.shots)),
    )
    return [look, boost, adapt]


def _check(options: argparse.Namespace, checkout: Checkout) -> None:
    """Refuse what can be seen at once.

    Raises:
        CasPLError: naming it.
    """
    for path in (options.root, options.unlabelled):
        if path is not None and not path.is_dir():
            raise CasPLError(f"there is no folder of pictures {path}")
    if options.classes is not None:
        read_classes([str(options.classes)])
        if options.classes.suffix != ".txt":
            raise CasPLError(f"--classes is a .txt file with a name on each line, not {options.classes}")
        if options.unlabelled is not None:
            raise CasPLError("with --classes DIR itself holds the unlabelled pictures: leave out --unlabelled")
    if options.method not in checkout.methods():
        raise CasPLError(f"there is no method {options.method!r}: {hint(options.method, checkout.methods())}")
    if options.shots == 0 or options.shots < -1:
        raise CasPLError(f"--shots is 1 or more, or -1 for all, not {options.shots}")
    if options.epochs is not None and options.epochs < 1:
        raise CasPLError(f"--epochs is 1 or more, not {options.epochs}")
