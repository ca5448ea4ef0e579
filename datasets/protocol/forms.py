"""The forms in which a user's data may come, and which of them describes a folder."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from caspl.data.listing import NO_CLASSES, PARTS, found_in
from caspl.errors import CasPLError
from datasets.protocol.subset import some
from datasets.protocol.tables import is_list, is_split, read_list
from datasets.protocol.walk import (
    LEFT_BY_SYSTEMS,
    Found,
    class_images,
    folders,
    holds_folders_alone,
    is_output,
)

logger = logging.getLogger(__name__)

OWN_SPLIT = "split_caspl"  # start of the names of split files that are made here: they follow from another form
BY_FOLDERS = "folders"
"""What ``DATASET.FOLDER.LIST`` says where the folders are to be read, whatever lists lie beside them."""


class Source(NamedTuple):
    """What describes the images of a folder.

    Args:
        split: a split file, or None.
        found: else the images as found.
        listed: name of the list that they come from; empty where folders tell.
    """

    split: Path | None = None
    found: Sequence[Found] = ()
    listed: str = ""


def find_source(root: Path, listed: Path | None, others: Sequence[Path], by_folders: bool = False) -> Source:
    """What describes the images of a folder; what lies there and is not used is logged.

    Args:
        root: the folder.
        listed: a split file or list that the user names.
        others: files and folders that the user names for other ends.
        by_folders: whether the user has said that folders tell.

    Raises:
        CasPLError: nothing does, it is not clear what does, or it has faults.
    """
    if listed:
        return Source(listed) if is_split(listed) else _listed(listed, root, others)
    splits = sorted(path for path in root.glob("split*.json") if not path.name.startswith(OWN_SPLIT))
    if len(splits) > 1 and not by_folders:
        files = some([path.name for path in splits])
        raise CasPLError(f"{root} has several split files ({files}): name one in DATASET.FOLDER.LIST")
    if splits and not by_folders:
        return Source(splits[0])
    tables = [path for path in sorted(root.glob("[!.]*.[ct]sv")) if path not in others]
    found, named = _in_folders(root, others)
    if found:
        if not by_folders:
            _compare(root, found, tables)
        say_unused(root, first_folders(image.path for image in found), others)
        return Source(found=found)
    if len(tables) == 1 and not by_folders:
        return _listed(tables[0], root, others)
    deeper = next((f"; did you mean --root {root / name}?" for name in named if len(folders(root / name)) > 1), "")
    raise CasPLError(
        f"{found_in(root)}, where folders of images for at least two classes are expected, train and test folders of "
        f"such, one split*.json, or one .csv or .tsv (of several, name one in DATASET.FOLDER.LIST){deeper}"
    )


def _in_folders(root: Path, others: Sequence[Path]) -> tuple[list[Found], list[str]]:
    """The images of class folders, perhaps below train and test, and the folders that could be classes."""
    here = folders(root)
    parts = {name: PARTS[name.lower()] for name in here if name.lower() in PARTS}
    apart = {above for path in others if path.is_dir() for above in (path, *path.parents)}
    names = [name for name in here if root / name not in apart]
    # A look into a folder of images takes seconds on a network disk: only where the names do not tell.
    in_parts = bool(parts) and (
        {"train", "test"} <= set(parts.values())
        or all(name in parts or is_output(root / name) for name in names)
        or any(holds_folders_alone(root / name) for name in parts)
    )
    classes = {name: folders(root / name) for name in parts} if in_parts else {}
    if any(classes.values()):
        found = [x for name, part in parts.items() for x in class_images(root, classes[name], name, part)]
        return found, names
    if len(names) > 1 and not in_parts:
        return class_images(root, names), names
    return [], names


def _listed(path: Path, root: Path, others: Sequence[Path]) -> Source:
    found = read_list(path, root)
    say_unused(root, first_folders(image.path for image in found), [path, *others])
    return Source(found=found, listed=path.stem)


def _compare(root: Path, found: Iterable[Found], tables: Iterable[Path]) -> None:
    """Refuse to choose between the folders and a list beside them that says something else.

    Raises:
        CasPLError: naming the switch that chooses.
    """
    by_folders = {image.path: (image.classname, image.part) for image in found}
    for path in tables:
        if not is_list(path):  # a table of something else, which is named as unused
            continue
        by_list = {image.path: (image.classname, image.part) for image in read_list(path, root)}
        parts = any(part for _, part in by_list.values()) and any(part for _, part in by_folders.values())
        if {name: said if parts else said[0] for name, said in by_list.items()} != {
            name: said if parts else said[0] for name, said in by_folders.items()
        }:
            classes = sorted({classname for classname, _ in by_folders.values()})
            raise CasPLError(
                f"{root} can be read in two ways, by its folders ({some(classes, 3)}) or by {path.name}: set "
                f"DATASET.FOLDER.LIST to {BY_FOLDERS} or to {path.name}"
            )


def first_folders(paths: Iterable[str]) -> set[str]:
    """What of the root the paths below it lead through."""
    return {path.partition("/")[0] for path in paths}


def say_unused(root: Path, used: Iterable[str], others: Iterable[Path]) -> None:
    """Log what lies in the root and is not looked at.

    Args:
        root: the folder.
        used: names in it that are.
        others: files and folders, perhaps deeper in it, that are used as well.
    """
    below = first_folders(path.relative_to(root).as_posix() for path in others if path.is_relative_to(root))
    known = {*used, *below, *NO_CLASSES}
    here = sorted(path.name for path in root.iterdir() if not path.name.startswith((".", OWN_SPLIT)))
    unused = [name for name in here if name not in known and name.lower() not in LEFT_BY_SYSTEMS]
    if unused:
        logger.warning("%s holds what is not used: %s", root, some(unused))
