"""``caspl evaluate RUN --root DIR``: a model on labelled pictures, one folder a class."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from caspl.commands.labelled import labelled, split_of
from caspl.commands.model import add_model, load_model
from caspl.errors import CasPLError
from caspl.results.answers import write_classes, write_confusion, write_predictions
from caspl.results.confusion import Confusion, draw, require_drawable

BINS = 15
"""Of the calibration error (Guo et al., arXiv 1706.04599, section 2), of equal width."""


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="caspl evaluate",
        description="Accuracy of all and of each class, the most confused pairs and the calibration error, on a folder "
        "with one folder of pictures for each class, named as the class (underscores are spaces); of a folder that "
        "holds test/, or a split that a run has made, its test pictures.",
    )
    add_model(made)
    made.add_argument("--root", required=True, type=Path, metavar="DIR", help="the labelled pictures, or a split file")
    made.add_argument("-o", "--output", type=Path, metavar="DIR", help="write classes.csv and confusion.csv there")
    made.add_argument("--picture", type=Path, metavar="FILE", help="draw the confusion matrix: .png, .svg, .pdf")
    made.add_argument("--predictions", action="store_true", help="with -o: also predictions.csv, the answer to each")
    made.add_argument("--pairs", type=int, default=5, metavar="N", help="most confused pairs to show (default: 5)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)
    if options.predictions and options.output is None:
        raise CasPLError("--predictions needs a folder to write to: -o DIR")
    if options.picture is not None:
        require_drawable(options.picture)
    model = load_model(options)
    paths, labels = labelled(options.root, model.classes, "test", split_of(model))
    logits = model.logits(paths, options.batch_size) / model.temperature
    answers = logits.argmax(dim=-1).tolist()
    names = model.classes
    counts = [[0] * len(names) for _ in names]
    for label, answer in zip(labels, answers, strict=True):
        counts[label][answer] += 1
    confusion = Confusion(names, counts)
    right = sum(counts[place][place] for place in range(len(names)))
    error = calibration_error(logits, torch.tensor(labels))
    print(f"{len(paths)} pictures, accuracy {100 * right / len(paths):.2f}%, calibration error {100 * error:.2f}%")
    for place, (name, row) in enumerate(zip(names, counts, strict=True)):
        if sum(row):
            print(f"  {100 * row[place] / sum(row):>6.2f}%  {name} ({row[place]} of {sum(row)})")
    for name, other, count, images in confusion.pairs(options.pairs):
        print(f"{count} of {images} {name} taken for {other}")
    if options.output is not None:
        write_classes(options.output / "classes.csv", labels, answers, names)
        write_confusion(options.output / "confusion.csv", labels, answers, names)
    if options.predictions:
        write_predictions(options.output / "predictions.csv", [str(path) for path in paths], labels, answers, names)
    if options.picture is not None:
        draw(confusion, options.picture)
    return 0


def calibration_error(logits: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over bins of confidence, by their size.

    Args:
        logits: (images, classes).
        labels: (images,) places of the true classes.
    """
    sure, answers = logits.softmax(dim=-1).max(dim=-1)
    place = (sure * bins).long().clamp(max=bins - 1)
    gap = sure - (answers == labels).float()
    sums = torch.zeros(bins).index_add_(0, place, gap)
    return float(sums.abs().sum() / len(labels))
