"""``caspl predict RUN IMAGES...``: the likeliest classes of pictures."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from caspl.commands.model import add_model, load_model
from caspl.errors import CasPLError
from caspl.predictor import Prediction
from caspl.predictor.images import Picture, pictures_of

UNKNOWN = "none of these"


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="caspl predict",
        description="The likeliest classes of pictures.",
        epilog="Exit codes: 0 all is well, 1 some pictures could not be read, 2 wrong input.",
    )
    add_model(made)
    made.add_argument("images", nargs="+", metavar="IMAGE", help="pictures, or folders of them")
    made.add_argument("--top", type=int, default=5, metavar="K", help="classes to show (default: 5)")
    made.add_argument("--format", choices=("text", "csv", "json"), default="text", help="json: an object a line")
    made.add_argument(
        "--threshold", type=float, default=0.0, metavar="P", help=f"probability below which it is {UNKNOWN!r}"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)
    if not 0 <= options.threshold <= 1:
        raise CasPLError(f"--threshold is a probability, 0 to 1, not {options.threshold:g}")
    pictures: list[Picture] = list(chain.from_iterable(pictures_of(given) for given in options.images))
    for picture in pictures:
        if not Path(str(picture)).is_file():
            raise CasPLError(f"there is no picture {picture}")
    model = load_model(options)
    broken: list[Picture] = []

    def unread(picture: Picture, error: CasPLError) -> None:
        broken.append(picture)
        tqdm.write(f"error: {error}", file=sys.stderr)

    found = model.stream(pictures, options.top, options.batch_size, options.threshold, unread)
    bar = tqdm(found, total=len(pictures), unit="picture", disable=None, file=sys.stderr)
    {"text": _text, "csv": _csv, "json": _json}[options.format](iter(bar))
    if broken:
        print(f"{len(broken)} of {len(pictures)} pictures could not be read and have no answer", file=sys.stderr)
    return 1 if broken else 0


def _text(found: Iterator[Prediction]) -> None:
    for one in found:
        answers = ", ".join(f"{name} {100 * probability:.1f}%" for name, probability in one.answers)
        tqdm.write(f"{one.picture}: {'' if one.known else UNKNOWN + ' ('}{answers}{'' if one.known else ')'}")


def _csv(found: Iterator[Prediction]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["image", "rank", "class", "probability", "known"])
    for one in found:
        rows = enumerate(one.answers, start=1)
        writer.writerows([str(one.picture), rank, name, f"{p:.6f}", int(one.known)] for rank, (name, p) in rows)


def _json(found: Iterator[Prediction]) -> None:
    for one in found:
        answers = [{"class": name, "probability": round(probability, 6)} for name, probability in one.answers]
        print(json.dumps({"image": str(one.picture), "known": one.known, "answers": answers}, ensure_ascii=False))
