"""Base and new classes: the first and the second half of the labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from caspl.data import Entry, Split
from caspl.errors import CasPLError

logger = logging.getLogger(__name__)

SUBSETS = ("all", "base", "new")


def select_classes(split: Split, subset: str) -> Split:
    """Keep the images of the base classes or of the new classes, relabelled from 0 in the same order.

    Base has one class more when their number is odd. ``all`` changes nothing.

    Raises:
        CasPLError: the subset is unknown or would be empty.
    """
    if subset == "all":
        return split
    if subset not in SUBSETS:
        raise CasPLError(f"DATASET.SUBSAMPLE_CLASSES must be one of {', '.join(SUBSETS)}, not {subset!r}")
    labels = sorted({entry.label for entry in split.train})
    half = (len(labels) + 1) // 2
    chosen = labels[:half] if subset == "base" else labels[half:]
    if not chosen:
        raise CasPLError("there are no new classes: the data set has one class, and that is the base class")
    names = {entry.label: entry.classname for entry in split.train}
    logger.info("%s: %d of %d classes: %s", subset, len(chosen), len(labels), some([names[label] for label in chosen]))
    if len(chosen) == 1:
        logger.warning("there is one class among the %s classes, so that every answer is right", subset)
    renumbered = {label: position for position, label in enumerate(chosen)}

    def cut(entries: list[Entry]) -> list[Entry]:
        return [entry._replace(label=renumbered[entry.label]) for entry in entries if entry.label in renumbered]

    return Split(cut(split.train), cut(split.val), cut(split.test), split.origin)


def some(names: Sequence[str], most: int = 10) -> str:
    """The first names of a list, in words."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
