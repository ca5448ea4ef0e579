"""``python -m caspl.convert CHECKPOINT --dataset NAME``: the CasPL authors' boosting tokens as a file for phase 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from caspl.boosting import Header, write_boosting
from caspl.boosting.find import boosting_path
from caspl.convert.released import Released, read_released
from caspl.errors import CasPLError
from caspl.files import Claim
from caspl.prompts.templates import template_for
from caspl.results.paper_figures import dataset_key, dataset_order
from caspl.zoo import load_clip, weights_hash


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="python -m caspl.convert",
        description="Read the boosting tokens of a checkpoint that the CasPL authors' code wrote, and write them as a "
        "boosting file, on which phase 2 runs. Nothing that the checkpoint contains is ever executed.",
    )
    made.add_argument("checkpoint", metavar="CHECKPOINT", help="of the authors' phase 1: .../CasPL/model.pth.tar-20")
    made.add_argument("--dataset", required=True, metavar="NAME", help="its DATASET.NAME, e.g. EuroSAT")
    made.add_argument("-o", "--output", metavar="FILE", help="a .safetensors (default: where phase 2 finds it)")
    made.add_argument("--boosting-dir", default="output/boosting", metavar="DIR", help="(default: %(default)s)")
    made.add_argument("--student", default="ViT-B/16", metavar="CLIP", help="name or file (default: %(default)s)")
    made.add_argument("--teacher", default="ViT-L/14", metavar="CLIP", help="its name (default: %(default)s)")
    made.add_argument("--seed", type=int, default=1, help="of the authors' run (default: %(default)s)")
    made.add_argument("--temperature", type=float, default=1.0, help="(default: %(default)s)")
    made.add_argument("--epochs", type=int, help="of phase 1 (default: what the checkpoint says)")
    made.add_argument("--classnames", metavar="FILE", help="class names in the softmax, one a line (default: none)")
    made.add_argument("--force", action="store_true", help="replace an existing file")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 2 with one sentence on stderr."""
    options = parser().parse_args(arguments)
    try:
        print(_convert(options))
    except CasPLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _convert(options: argparse.Namespace) -> str:
    """Write the file; returns what to print."""
    _check(options)
    classnames = _read_names(options.classnames)
    released = read_released(options.checkpoint)
    epochs = options.epochs or released.epochs
    if epochs is None:
        raise CasPLError(f"{released.path} does not say how many epochs phase 1 had; name them with --epochs")
    target = _target(options, released)
    clip = load_clip(options.student)
    compared, every = released.require_student(options.student, clip)
    header = Header(
        student=options.student,
        student_hash=weights_hash(clip),
        teacher=options.teacher,
        dataset=options.dataset,
        classnames=classnames,
        template=template_for(options.dataset),
        seed=options.seed,
        epochs=epochs,
        temperature=options.temperature,
    )
    with Claim(target, "caspl.convert"):
        _require_free(target, options.force)  # once more, now that nobody else can write it
        write_boosting(target, header, released.text, released.vision)
    sizes = ", ".join(
        f"{tokens.shape[1]} {tower} tokens in {tokens.shape[0]} layers"
        for tower, tokens in (("text", released.text), ("vision", released.vision))
    )
    checked = f"{compared} of its {every} tensors are in the checkpoint and agree" if compared else "only widths agree"
    return (
        f"wrote {target}: {sizes}, student {options.student} ({checked}); phase 2: python train.py "
        f"--trainer CasPL_PromptSRC --backbone {options.student} ... TRAINER.CASPL.BOOSTING {target}"
    )


def _check(options: argparse.Namespace) -> None:
    if options.dataset.islower() and dataset_key(options.dataset) in dataset_order():
        raise CasPLError(
            f"--dataset is the DATASET.NAME in the data set's config, e.g. EuroSAT, not {options.dataset!r}"
        )
    if options.seed < 0 or not options.temperature > 0 or (options.epochs is not None and options.epochs < 1):
        raise CasPLError("--seed is 0 or more, --temperature above 0 and --epochs 1 or more")


def _target(options: argparse.Namespace, released: Released) -> Path:
    """Where to write; never over a file without --force, and never under a name that phase 2 would misread."""
    text, vision = ((tokens.shape[1], tokens.shape[0]) for tokens in (released.text, released.vision))
    place = boosting_path(options.boosting_dir, options.dataset, options.student, options.seed, text, vision)
    target = Path(options.output or place)
    if target.suffix != ".safetensors":
        raise CasPLError(f"a boosting file's name ends in .safetensors, not like {target}")
    _require_free(target, options.force)
    return target


def _require_free(target: Path, force: bool) -> None:
    if target.exists() and not force:
        raise CasPLError(f"{target} is there already; replace it with --force, or name another file with -o")


def _read_names(path: str | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        names = tuple(line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise CasPLError(f"the class names in {path} cannot be read: {error}") from error
    if not names:
        raise CasPLError(f"{path} holds no class names; write one a line")
    return names


if __name__ == "__main__":
    sys.exit(main())
