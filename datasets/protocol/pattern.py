"""What the data-set files of CoOp's family call by name: ``OxfordPets.read_split`` and its like, over lists of items.

A file written after that pattern (arXiv 2109.01134's code) runs here by ``--plugin``; docs/your-data.md says how.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from caspl.data import Entry, Split, read_split, write_split
from caspl.data.listing import ARCHIVE_ADVICE, class_folders, folder_entries, require_images
from caspl.errors import CasPLError
from dassl.data.datasets import Datum
from datasets.protocol.items import make_items
from datasets.protocol.rules import TRAIN_RATIO, VAL_RATIO, hold_out_val, split_by_ratio
from datasets.protocol.subset import select_classes

Lists = tuple[list[Datum], list[Datum], list[Datum]]


class ByPattern:
    """The pattern's static methods. Shuffles are this library's own: the same on every machine."""

    @staticmethod
    def read_split(filepath: str, path_prefix: str) -> Lists:
        """Train, val and test of a split file, with paths below ``path_prefix``.

        Raises:
            CasPLError: the file is broken, or images are missing.
        """
        split, root = read_split(Path(filepath)), Path(path_prefix)
        parts = (split.train, split.val, split.test)
        require_images(root, (entry.path for part in parts for entry in part), ARCHIVE_ADVICE)
        train, val, test = (make_items(root, part) for part in parts)
        return train, val, test

    @staticmethod
    def save_split(
        train: Sequence[Datum], val: Sequence[Datum], test: Sequence[Datum], filepath: str, path_prefix: str
    ) -> None:
        """Write a split file with paths relative to ``path_prefix``."""
        entries = [_entries(part, path_prefix) for part in (train, val, test)]
        write_split(Path(filepath), Split(entries[0], entries[1], entries[2]))

    @staticmethod
    def split_trainval(trainval: Sequence[Datum], p_val: float = VAL_RATIO) -> tuple[list[Datum], list[Datum]]:
        """Train and val: a share of each class for the latter."""
        split = hold_out_val(_entries(trainval), [], p_val)
        return make_items(Path(os.sep), split.train), make_items(Path(os.sep), split.val)

    @staticmethod
    def read_and_split_data(
        image_dir: str,
        p_trn: float = TRAIN_RATIO,
        p_val: float = VAL_RATIO,
        ignored: Collection[str] = (),
        new_cnames: Mapping[str, str] | None = None,
    ) -> Lists:
        """Train, val and test of a folder with a folder for each class, by shares of each class."""
        root = Path(image_dir)
        names = {name: (new_cnames or {}).get(name, name) for name in class_folders(root) if name not in ignored}
        split = split_by_ratio(folder_entries(root, names), p_trn, p_val)
        train, val, test = (make_items(root, part) for part in (split.train, split.val, split.test))
        return train, val, test

    @staticmethod
    def subsample_classes(*args: Sequence[Datum], subsample: str = "all") -> Sequence[Sequence[Datum]]:
        """The base or the new classes of train, val, test, whose labels begin at 0 again.

        Raises:
            CasPLError: there is no such subset, or it would be empty.
        """
        if subsample == "all":
            return args
        if not 1 <= len(args) <= 3:
            raise CasPLError(f"subsample_classes takes up to three lists, train first, not {len(args)}")
        lists = [*map(_entries, args), [], []]
        split = select_classes(Split(lists[0], lists[1], lists[2]), subsample)
        return [make_items(Path(os.sep), part) for part in (split.train, split.val, split.test)[: len(args)]]


def _entries(items: Sequence[Datum], root: str = os.sep) -> list[Entry]:
    """Of items, with paths relative to a folder."""
    return [Entry(os.path.relpath(item.impath, root), item.label, item.classname) for item in items]
