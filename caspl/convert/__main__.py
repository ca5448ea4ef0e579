"""``python -m caspl.convert CHECKPOINT --dataset NAME``: a published checkpoint as files of ours.

The CasPL authors' boosting tokens become a boosting file for phase 2, the tokens of CoOp, CoCoOp, IVLP, MaPLe and
PromptSRC the folder of a run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from caspl.boosting import Header, write_boosting
from caspl.boosting.find import boosting_path
from caspl.convert.methods import learner_key, method_of, prompts_of
from caspl.convert.names import split, suffix_ids
from caspl.convert.released import Released, has_boosting, read_released
from caspl.convert.run import checkpoint_path, write_run
from caspl.convert.state import State, read_state
from caspl.errors import CasPLError
from caspl.files import Claim
from caspl.prompts.context import POSITIONS
from caspl.prompts.templates import template_for
from caspl.results.paper_figures import dataset_key, dataset_order
from caspl.towers.tokenizer import encode
from caspl.zoo import load_clip, weights_hash

WORDS = "a photo of a"  # of all published settings


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="python -m caspl.convert",
        description="Read a checkpoint as its authors publish it: CasPL's phase 1 becomes a boosting file, on which "
        "phase 2 runs; CoOp, CoCoOp, IVLP, MaPLe and PromptSRC become the folder of a run, which caspl.load and "
        "--eval-only read. Which of them it is shows in its keys. Nothing that it contains is ever executed.",
    )
    made.add_argument(
        "checkpoint", metavar="CHECKPOINT", help=".../CasPL/model.pth.tar-20, .../prompt_learner/model.pth.tar-50"
    )
    made.add_argument("--dataset", required=True, metavar="NAME", help="its DATASET.NAME, e.g. EuroSAT")
    made.add_argument(
        "-o", "--output", metavar="PATH", help="a .safetensors for boosting tokens (default: where phase 2 finds it), "
        "else a folder (default: output/released/DATASET/METHOD/seedN)"
    )  # fmt: skip
    made.add_argument("--student", default="ViT-B/16", metavar="CLIP", help="name or file (default: %(default)s)")
    made.add_argument("--seed", type=int, default=1, help="of the authors' run (default: %(default)s)")
    made.add_argument("--epochs", type=int, help="of the authors' run (default: what the checkpoint says)")
    made.add_argument(
        "--classnames", metavar="FILE", help="class names, one a line (default: of boosting tokens none, else those "
        "that the checkpoint holds as tokens, in small letters)"
    )  # fmt: skip
    made.add_argument("--force", action="store_true", help="replace an existing file")
    boosting = made.add_argument_group("of boosting tokens alone")
    boosting.add_argument("--boosting-dir", default="output/boosting", metavar="DIR", help="(default: %(default)s)")
    boosting.add_argument("--teacher", default="ViT-L/14", metavar="CLIP", help="its name (default: %(default)s)")
    boosting.add_argument("--temperature", type=float, default=1.0, help="(default: %(default)s)")
    method = made.add_argument_group("of methods alone")
    method.add_argument("--words", default=WORDS, help="that the context started from (default: %(default)s)")
    method.add_argument(
        "--position", default="end", choices=POSITIONS, help="CoOp's CLASS_TOKEN_POSITION, which no checkpoint tells "
        "(default: %(default)s)"
    )  # fmt: skip
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
    """Write what the checkpoint becomes; returns what to print."""
    _check(options)
    classnames = _read_names(options.classnames)
    state = read_state(options.checkpoint)
    method = None if has_boosting(state) else method_of(state)
    if method is None:
        return _convert_boosting(options, read_released(state), classnames)
    return _convert_method(options, method, state, classnames)


def _convert_boosting(options: argparse.Namespace, released: Released, classnames: tuple[str, ...]) -> str:
    epochs = _epochs(options, released.state, released.epochs, "phase 1")
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
    return (
        f"wrote {target}: {sizes}, student {options.student} ({_compared(compared, every, 'only widths agree')}); "
        f"phase 2: python train.py --trainer CasPL_PromptSRC --backbone {options.student} ... "
        f"TRAINER.CASPL.BOOSTING {target}"
    )


def _convert_method(options: argparse.Namespace, method: str, state: State, classnames: tuple[str, ...]) -> str:
    epochs = _epochs(options, state, state.epoch, method)
    folder = Path(options.output or Path("output/released", options.dataset, method, f"seed{options.seed}"))
    if folder.suffix == ".safetensors":
        raise CasPLError(f"{method} becomes the folder of a run, not a file: name one with -o, not {folder}")
    if options.position != "end" and method != "CoOp":
        raise CasPLError(f"--position is CoOp's: the tokens of {method} stand before the class name")
    target = checkpoint_path(folder, method, epochs)
    _require_free(target, options.force)
    clip = load_clip(options.student)
    compared, every = state.require_towers(options.student, clip)
    suffix = learner_key(state, "token_suffix")
    rows = suffix_ids(state, suffix, clip.text, options.student)
    stay = encode(options.words)[state.numbers(learner_key(state, "ctx"), (2, 3)).shape[-2] :]
    rest = stay if all(row[: len(stay)] == stay for row in rows) else []  # CTX_INIT may have been none
    names = split(state.path, rows, rest, classnames)
    prompts = prompts_of(method, state, clip, rest, options.position)
    trained_on = {"dataset": options.dataset, "seed": options.seed}
    with Claim(target, "caspl.convert"):
        _require_free(target, options.force)
        write_run(target, epochs, options.student, clip, prompts, names, trained_on)
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    checked = _compared(compared, every, "it has no towers; the embedded class names are its words")
    return (
        f"wrote {folder}: {method} for {len(names)} classes ({shown}), student {options.student} ({checked}); "
        f"use it: caspl predict {folder} PICTURES; or python train.py --eval-only --trainer {method} "
        f"--model-dir {folder} --load-epoch {epochs} ..."
    )


def _epochs(options: argparse.Namespace, state: State, said: int | None, what: str) -> int:
    epochs: int | None = options.epochs or said
    if epochs is None:
        raise CasPLError(f"{state.path} does not say how many epochs {what} had; name them with --epochs")
    return epochs


def _compared(compared: int, every: int, nothing: str) -> str:
    return f"{compared} of its {every} tensors are in the checkpoint and agree" if compared else nothing


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
