"""Base and new classes: the first and the second half of the labels."""

from __future__ import annotations

import logging

from caspl.errors import CasPLError
from datasets.protocol.split import Entry, Split

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
    logger.info("%s classes: %d of %d", subset, len(chosen), len(labels))
    renumbered = {label: position for position, label in enumerate(chosen)}

    def cut(entries: list[Entry]) -> list[Entry]:
        return [entry._replace(label=renumbered[entry.label]) for entry in entries if entry.label in renumbered]

    return Split(cut(split.train), cut(split.val), cut(split.test), split.origin)
