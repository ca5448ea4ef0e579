"""The picture of a confusion matrix: right answers in one colour, errors in another, the stronger the more frequent."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from caspl.results.confusion import Confusion
from caspl.results.report.plot import figure, label

RIGHT, WRONG = (0x2F, 0x7E, 0xC4), (0xD9, 0x55, 0x1F)
NAMED = 100
"""Classes above which there are no names, since none could be read."""
COUNTED = 20
"""Classes above which there are no numbers in the cells."""
LEAST = 0.12  # opacity of a single image; below, nobody would see it


def draw(confusion: Confusion) -> Figure:
    """Rows are classes, columns answers; the strength is the share of the class's images."""
    count = len(confusion.names)
    named = count <= NAMED
    side = max(1.6, 0.3 * count if count <= COUNTED else 0.155 * count if named else 6.5)
    drawn = figure(side + 1.4 * named, side + 1.2 * named)
    axes = drawn.add_subplot()
    numbers = np.asarray(confusion.counts)
    share = numbers / np.maximum(numbers.sum(axis=1, keepdims=True), 1)
    pixels = np.zeros((count, count, 4), dtype=np.uint8)
    pixels[..., :3] = WRONG
    pixels[np.arange(count), np.arange(count), :3] = RIGHT
    pixels[..., 3] = np.where(numbers > 0, np.round(255 * (LEAST + (1 - LEAST) * share)), 0)
    axes.imshow(pixels, interpolation="none", aspect="equal")
    for place in axes.spines.values():
        place.set(visible=True, linewidth=0.5, alpha=0.5)
    axes.set(xlabel="answer", ylabel="class")
    if named:
        size = 8 if count <= COUNTED else 7
        labels = [label(name, 28) for name in confusion.names]
        axes.set_xticks(range(count), labels, rotation=90, fontsize=size)
        axes.set_yticks(range(count), labels, fontsize=size)
        axes.tick_params(length=0)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    if count <= COUNTED:
        for row, column in np.argwhere(numbers > 0):
            axes.text(column, row, str(numbers[row, column]), ha="center", va="center", fontsize=7)
    return drawn
