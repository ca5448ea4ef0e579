"""From found images to a split: names, labels, and shares of each class where nothing says which image is for what."""

from __future__ import annotations

import logging
import random
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from caspl.errors import CasPLError
from datasets.protocol import Entry, Split
from datasets.protocol.subset import some
from datasets.protocol.walk import Found

logger = logging.getLogger(__name__)

ANEW = (
    "delete it to split anew, then run phase 1 and phase 2 again, because images that they saw may become test images"
)


def class_names(classes: Sequence[str], given: Mapping[str, str], least: int = 2) -> dict[str, str]:
    """What each class is called in prompts: as given, else as its folder.

    Args:
        classes: folders of the classes.
        given: names of some of them.
        least: how many classes there must be.

    Raises:
        CasPLError: there are too few classes, one reads as nothing, two read alike, or none of the given names
            is used.
    """
    if len(classes) < least:
        raise CasPLError(f"there is one class, {some(classes)}: classification needs at least two")
    if given and not given.keys() & set(classes):
        raise CasPLError(f"DATASET.FOLDER.CLASSNAMES names {some(list(given))}, but the classes are {some(classes)}")
    names = {key: unicodedata.normalize("NFC", given.get(key, key)) for key in classes}
    read: dict[str, str] = {}
    for key in classes:
        text = as_read(names[key])
        if not text:
            raise CasPLError(f"the class {key!r} has no name to read: rename it")
        if text in read:
            raise CasPLError(
                f"the classes {read[text]!r} and {key!r} are both called {text!r} in prompts: "
                "rename one, or merge their folders"
            )
        read[text] = key
    if all(text.replace(" ", "").isdigit() for text in read):
        logger.warning("the classes are called %s: CLIP knows words; see DATASET.FOLDER.CLASSNAMES", some(list(read)))
    return names


def as_read(name: str) -> str:
    """A class's name as prompts and CLIP's tokenizer read it."""
    return " ".join(name.replace("_", " ").lower().split())


def as_split(found: Iterable[Found], names: Mapping[str, str]) -> Split:
    """Put images into the lists that they belong to; a class's label is its place among ``names``.

    Without training and validation images, ``train`` is the list ``test`` itself, which tells the classes.

    Raises:
        CasPLError: there are no test images, or a class has no training images.
    """
    labels = {key: label for label, key in enumerate(names)}
    split = Split([], [], [])
    for image in found:
        getattr(split, image.part).append(Entry(image.path, labels[image.classname], names[image.classname]))
    if not split.test:
        raise CasPLError("there are no test images: add test/<class>/, or rows of the split test")
    if not split.train and not split.val:
        return Split(split.test, [], split.test)
    trained = {entry.label for entry in split.train}
    missing = [key for key, label in labels.items() if label not in trained]
    if missing:
        raise CasPLError(f"there are no training images of {some(missing)}, but others, for validation or test")
    return split


def as_kept(made: Split, kept: Split, path: Path) -> Split:
    """The split kept in a file, with present labels and names: new images do not move the old ones.

    Args:
        made: the split that would be made of the images that are there now.
        kept: the split made before.
        path: its file, for messages.

    Raises:
        CasPLError: images are gone, or classes have come.
    """
    now = {entry.path: entry for entry in (*made.train, *made.val, *made.test)}
    then = {entry.path for entry in (*kept.train, *kept.val, *kept.test)}
    gone = sorted(then - now.keys())
    if gone:
        raise CasPLError(f"{path} holds images that are gone ({len(gone)}, such as {gone[0]}): {ANEW}")
    added = [entry for name, entry in now.items() if name not in then]
    classes = sorted({entry.classname for entry in added} - {now[name].classname for name in then})
    if classes:
        raise CasPLError(f"{path} was made before there were the classes {some(classes)}: {ANEW}")
    if added:
        logger.warning("%s lacks images that have come (%d): to use them, %s", path, len(added), ANEW)
    train, val, test = ([now[entry.path] for entry in part] for part in (kept.train, kept.val, kept.test))
    return Split(train, val, test)


def by_ratios(found: Iterable[Found], ratios: Sequence[float], seed: int) -> list[Found]:
    """Share out the images of each class: shuffled, then counted off as rule A does.

    The shuffle follows from the seed and the class alone, so that another class changes nothing for this one.

    Args:
        found: images of which nothing says to which list they belong.
        ratios: shares of train, val and test.
        seed: of the shuffles.

    Raises:
        CasPLError: the ratios are no shares, a class is too small for them, or an image has its list already.
    """
    shares = checked_ratios(ratios)
    groups: dict[str, list[Found]] = defaultdict(list)
    for image in found:
        if image.part:
            raise CasPLError(
                f"{image.path} is for {image.part} already: say of every image, or of none, what it is for"
            )
        groups[image.classname].append(image)
    shared = []
    for classname, group in groups.items():
        group.sort()
        random.Random(f"{seed} {classname}").shuffle(group)
        train = round(shares[0] * len(group))
        val = round(shares[1] * len(group))
        counts = {"train": train, "val": val, "test": len(group) - train - val}
        if any((share > 0) != (count > 0) for share, count in zip(shares, counts.values(), strict=True)):
            raise CasPLError(
                f"the class {classname!r} has {len(group)} images, too few for shares of "
                f"{' / '.join(f'{share:g}' for share in shares)}: add images, or set DATASET.FOLDER.RATIOS "
                "(without validation, for example, '(0.5, 0, 0.5)')"
            )
        parts = [part for part, count in counts.items() for _ in range(count)]
        shared += [image._replace(part=part) for image, part in zip(group, parts, strict=True)]
    return shared


def checked_ratios(ratios: Sequence[float]) -> tuple[float, float, float]:
    """The shares of train, val and test.

    Raises:
        CasPLError: they are not three numbers that sum to 1, or leave no image to train on but some to validate, or
            none to test.
    """
    if len(ratios) != 3 or not all(isinstance(share, (int, float)) and share >= 0 for share in ratios):
        raise CasPLError(f"DATASET.FOLDER.RATIOS is (train, val, test), such as (0.5, 0.2, 0.3), not {ratios}")
    train, val, test = ratios
    if abs(sum(ratios) - 1) > 1e-6:
        raise CasPLError(f"DATASET.FOLDER.RATIOS {ratios} sum to {sum(ratios):g}, not to 1")
    if not test or (val and not train):
        raise CasPLError(f"DATASET.FOLDER.RATIOS {ratios} need images for the test, and training images to validate")
    return train, val, test
