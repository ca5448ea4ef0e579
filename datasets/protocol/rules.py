"""The two rules by which missing splits are made.

A shuffle of ours cannot give the published lists, which nobody can make again (they depended on the order in which
a file system lists its files). It does give the same lists on every machine: listings are sorted, and the generator
is a local one with a fixed seed, so that the split depends neither on SEED nor on what was drawn before.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from caspl.data import Entry, Split
from caspl.data.listing import class_folders, folder_entries
from caspl.errors import CasPLError

TRAIN_RATIO = 0.5
VAL_RATIO = 0.2
ORIGIN = "made by CasPL's own shuffle; this is not the published split"


def split_by_ratio(entries: Iterable[Entry], train_ratio: float = TRAIN_RATIO, val_ratio: float = VAL_RATIO) -> Split:
    """Rule A: of each class half for training, a fifth for validation, the rest for the test.

    Raises:
        CasPLError: a class is too small to appear in all three lists.
    """
    split = Split([], [], [], ORIGIN)
    for group in _shuffled_classes(entries):
        # Python rounds halves to even; the published counts show the same rule.
        train = round(train_ratio * len(group))
        val = train + round(val_ratio * len(group))
        if not 0 < train < val < len(group):
            raise CasPLError(
                f"the class {group[0].classname!r} has {len(group)} images, too few for training, validation and test"
            )
        split.train.extend(group[:train])
        split.val.extend(group[train:val])
        split.test.extend(group[val:])
    return split


def hold_out_val(trainval: Iterable[Entry], test: list[Entry], val_ratio: float = VAL_RATIO) -> Split:
    """Rule B: the official test list, and a fifth of each class of the rest for validation."""
    split = Split([], [], test, ORIGIN)
    for group in _shuffled_classes(trainval):
        val = round(val_ratio * len(group))
        split.val.extend(group[:val])
        split.train.extend(group[val:])
    return split


def folder_split(folder: Path, renamed: Mapping[str, str] | None = None, ignored: Collection[str] = ()) -> Split:
    """Rule A over a folder for each class. Labels follow the folder names, not the names given in ``renamed``."""
    names = {name: (renamed or {}).get(name, name) for name in class_folders(folder) if name not in ignored}
    return split_by_ratio(folder_entries(folder, names))


def _shuffled_classes(entries: Iterable[Entry]) -> list[list[Entry]]:
    """The images of each class in random order; classes in order of first appearance."""
    groups: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.label].append(entry)
    generator = random.Random(0)
    for group in groups.values():
        generator.shuffle(group)
    return list(groups.values())
