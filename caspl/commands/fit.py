"""``caspl fit DIR -o RUN``: from a folder of pictures to a trained model, by a checkout's ``train.py``."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from caspl.commands.model import read_classes
from caspl.commands.progress import Talk
from caspl.commands.stages import (
    Checkout,
    OtherArguments,
    Stage,
    is_checkout,
    leave_no_trace,
    length,
    pairs_of,
    section_of,
)
from caspl.commands.survey import Survey
from caspl.errors import CasPLError, hint
from caspl.fitted import BOOST, Fitted
from caspl.fitted import FILE as FITTED
from caspl.pixels import pixels_of
from caspl.predictor.images import pictures_below
from caspl.results.record import FILE_NAME, RunRecord, read_record
from caspl.step import Precision
from caspl.teachers import load_encoder
from caspl.zoo import SHIPPED, load_clip

LOOK, TOKENS = "look", "tokens"
"""Folders, in the run of zero-shot CLIP, and in that of phase 1 of its boosting file."""
OPTIONS = {
    "--root": "DIR",
    "--seed": "--seed",
    "--backbone": "--student",
    "--trainer": "--method",
    "TRAINER.CASPL.TEACHER": "--teacher",
    "DATASET.NUM_SHOTS": "--shots",
    "DATASET.TEMPLATE": "--template",
    "DATASET.FOLDER.UNLABELLED": "--unlabelled",
    "DATASET.FOLDER.CLASSES": "--classes",
    "OPTIM.MAX_EPOCH": "--epochs",
}
"""Settings of ``train.py`` -> the options that they come from."""


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
    add("--method", default="PromptSRC", metavar="NAME", help=f"that adapts (default: %(default)s): {_methods()}")
    add("--shots", type=int, default=16, metavar="K", help="labelled pictures a class; -1: all (default: 16)")
    add("--unlabelled", type=Path, metavar="DIR", help="more pictures; phase 1 then looks at these alone")
    add("--classes", type=Path, metavar="TXT", help="DIR holds no labels: boost for these names, one a line, and end")
    add("--template", default="", metavar="TEXT", help='what a picture is, e.g. "a photo of a {}, a type of flower."')
    add("--epochs", type=int, metavar="N", help="of each phase (default: what fits the pictures and the machine)")
    add("--seed", type=int, default=1, metavar="N", help="(default: 1)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    talk = Talk()
    try:
        checkout = Checkout.here()
        _check(options, checkout)
        stages = plan(options, checkout)
        if not all((stage.folder / FILE_NAME).is_file() for stage in stages):
            _look(options, checkout, stages, talk)
        _run(options, checkout, stages, talk, Fitted(shlex.join(["caspl", "fit", *given]), options.classes is not None))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last finished epoch", file=sys.stderr)
        return 130
    _end(options, stages)
    return 0


def _look(options: argparse.Namespace, checkout: Checkout, stages: list[Stage], talk: Talk) -> None:
    """Say what was found, and what will be done.

    Raises:
        CasPLError: the pictures cannot be trained on.
    """
    shots = options.shots if options.classes is None else -1
    pairs = [*_template(options), *_boosting_data(options)]
    if not talk.stream.isatty():  # elsewhere a bar says so
        talk.line("looking at the pictures ...")
    found = Survey.of(checkout, options.root.resolve(), pairs, shots)
    talk.reworded.update(found.reworded)
    if options.classes is None and "train" not in found.lists:
        raise CasPLError(f"{options.root} holds pictures for the test alone: add some for training")
    print(*found.lines(), sep="\n")
    print(*(f"{stage.title}: {stage.about}" for stage in stages if stage.about), sep="\n", flush=True)
    for kind, sentences in (("warning", found.warnings), ("note", found.notes)):
        for sentence in sentences:
            talk.once(kind, sentence)


def _run(options: argparse.Namespace, checkout: Checkout, stages: list[Stage], talk: Talk, fitted: Fitted) -> None:
    """Run one stage after the other.

    Raises:
        CasPLError: one was refused, or failed.
    """
    before = Fitted.there(options.output)
    fitted.write(options.output)
    try:
        for stage in stages:
            stage.run(checkout, talk, OPTIONS)
    except OtherArguments as error:
        if before:
            before.write(options.output)
        else:
            (options.output / FITTED).unlink()
        raise CasPLError(
            f"{options.output} holds a run of other arguments ({error}): use another -o, or delete it"
        ) from error
    finally:
        leave_no_trace(options.output, FITTED)


def _end(options: argparse.Namespace, stages: list[Stage]) -> None:
    """Say what came out, and what can be done with it."""
    run = options.output
    if options.classes is not None:
        print(f"boosted for {len(read_classes([str(options.classes)]) or [])} classes, without labels to test it by")
    else:
        records = [read_record(stage.folder / FILE_NAME) for stage in stages]
        print(f"accuracy on {records[-1].test_images} held-out pictures:")
        for name, record in zip(("zero-shot", "boosted", "adapted"), records, strict=True):
            print(f"  {name:<10} {_accuracy(record)}")
        print(f"class by class: caspl evaluate {run} --root {options.root}")
    print(f"use it: caspl predict {run} PICTURE, or on a page: caspl demo {run}")


def _accuracy(record: RunRecord) -> str:
    """In percent, and in pictures: of sixteen, one is six percent."""
    if record.accuracy is None:
        return "  none"
    right = round(record.accuracy * record.test_images / 100)
    return f"{record.accuracy:>5.1f}%  ({right} of {record.test_images})"


def _template(options: argparse.Namespace) -> list[str]:
    """What a picture is, as a setting."""
    return ["DATASET.TEMPLATE", options.template] if options.template else []


def _boosting_data(options: argparse.Namespace) -> list[str]:
    """Which pictures phase 1 sees, as settings."""
    if options.classes is not None:
        names = ["DATASET.FOLDER.CLASSES", str(options.classes.resolve())]
        return ["DATASET.NAME", "Pictures", *names, "TEST.NO_TEST", "True"]
    return ["DATASET.FOLDER.UNLABELLED", str(options.unlabelled.resolve())] if options.unlabelled else []


def _methods() -> str:
    """Those that there are, or where they stand."""
    here = Path.cwd()
    return ", ".join(Checkout(here).methods()) if is_checkout(here) else "docs/methods.md names them"


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
    pairs += _template(options)
    pairs += [] if cuda else ["DATALOADER.NUM_WORKERS", "0"]
    tokens = output / BOOST / TOKENS
    seen = len(pictures_below(options.unlabelled or root))

    def stage(title: str, folder: Path, method: str, pictures: int, trainer: str, about: str, *more: str) -> Stage:
        config = checkout.config(method, tiny)
        batch, epochs = length(pictures, limited)
        trained = ["OPTIM.MAX_EPOCH", str(options.epochs or epochs), "TRAIN.PRINT_FREQ", "5"]
        # MaPLe and others have batch sizes of their own.
        trained += ["DATALOADER.TRAIN_X.BATCH_SIZE", str(batch)] if method == "CasPL" else []
        precision = [f"TRAINER.{section_of(config)}.PREC", "amp" if cuda else "fp32"]
        words = [*common, "--trainer", trainer, "--config-file", str(config), *pairs, *precision, *trained, *more]
        made = (tokens, "**/*.safetensors") if method == "CasPL" else None
        said = about and f"{about}, epochs: {options.epochs or epochs}"
        return Stage(title, folder, tuple(words), made, said)

    boost = stage(
        *("phase 1, boosting", output / BOOST, "CasPL", seen, "CasPL"),
        f"{options.student} learns from {options.teacher} without labels",
        *(
            "TRAINER.CASPL.TEACHER",
            options.teacher,
            "TRAINER.CASPL.BOOSTING_DIR",
            str(tokens),
            *_boosting_data(options),
        ),
    )
    if options.classes is not None:
        return [boost]
    look = stage("zero-shot CLIP", output / LOOK, "ZeroshotCLIP", seen, "ZeroshotCLIP", "")
    labelled = len(pictures_below(root)) // 2  # half of each class trains, where nothing else is said
    adapt = stage(
        *("phase 2, adapting", output, options.method, labelled, f"CasPL_{options.method}"),
        f"{options.method} with {'all' if options.shots < 0 else options.shots} labelled pictures a class",
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
        if path is not None and path.is_file():
            raise CasPLError(f"{path} is a file: name the folder that holds the pictures")
        if path is not None and not path.is_dir():
            raise CasPLError(f"there is no folder of pictures {path}")
        if path is not None and options.output.resolve().is_relative_to(path.resolve()):
            raise CasPLError(f"-o {options.output} is inside the folder of the pictures {path}: use another")
    there = next(path for path in (options.output, *options.output.resolve().parents) if path.exists())
    if not there.is_dir():
        raise CasPLError(f"-o {options.output}: {there} is a file, not a folder")
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
