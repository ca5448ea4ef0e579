"""What a test leaves for reports: the answer to each image, figures of each class, the confusion matrix, as CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from caspl.files import write_atomically


def write_predictions(
    path: Path, images: Sequence[str], labels: Sequence[int], answers: Sequence[int], names: Sequence[str]
) -> None:
    """One row an image: its path, class and answer.

    Args:
        images: paths.
        labels, answers: places of class and answer among ``names``.
    """
    rows = [
        [image, names[label], names[answer], int(label == answer)]
        for image, label, answer in zip(images, labels, answers, strict=True)
    ]
    _write(path, [["image", "class", "answer", "right"], *rows])


def write_classes(path: Path, labels: Sequence[int], answers: Sequence[int], names: Sequence[str]) -> None:
    """One row a class: its images, those that were answered right, accuracy in percent, and the most frequent error."""
    images, right = (
        Counter(labels),
        Counter(label for label, answer in zip(labels, answers, strict=True) if label == answer),
    )
    wrong: dict[int, Counter[int]] = {}
    for label, answer in zip(labels, answers, strict=True):
        if label != answer:
            wrong.setdefault(label, Counter())[answer] += 1
    rows = []
    for label, name in enumerate(names):
        accuracy = f"{100 * right[label] / images[label]:.2f}" if images[label] else ""
        error, count = wrong[label].most_common(1)[0] if label in wrong else (label, 0)
        rows.append([name, images[label], right[label], accuracy, names[error] if count else "", count or ""])
    _write(path, [["class", "images", "right", "accuracy", "most often taken for", "times"], *rows])


def write_confusion(path: Path, labels: Sequence[int], answers: Sequence[int], names: Sequence[str]) -> None:
    """The number of images of each class (rows) that got each answer (columns)."""
    counts = Counter(zip(labels, answers, strict=True))
    rows = [[name, *(counts[label, answer] for answer in range(len(names)))] for label, name in enumerate(names)]
    _write(path, [["class \\ answer", *names], *rows])


def _write(path: Path, rows: Iterable[Iterable[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomically(path, lambda temporary: Path(temporary).write_text(text.getvalue(), encoding="utf-8"))
