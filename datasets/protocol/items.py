"""From the entries of a split to the items of the engine."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from caspl.data import Entry
from dassl.data.datasets import Datum


def make_items(image_dir: Path, entries: Iterable[Entry]) -> list[Datum]:
    """Make the items of a list, with absolute paths, without looking at the files."""
    root = os.path.join(image_dir, "")
    return [_item(root + entry.path, entry.label, entry.classname) for entry in entries]


def _item(impath: str, label: int, classname: str) -> Datum:
    # What unpickling does: the documented attributes of an item, without its constructor's question to the disk.
    item = Datum.__new__(Datum)
    vars(item).update(_impath=impath, _label=label, _domain=0, _classname=classname)
    return item
