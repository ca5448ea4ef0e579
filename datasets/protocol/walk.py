"""A user's folders: which images they hold, of which class, for which list."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from caspl.data.listing import IMAGE_SUFFIXES, NO_CLASSES, class_folders, contents
from caspl.errors import CasPLError
from datasets.protocol.subset import some

logger = logging.getLogger(__name__)

RUN_MARKS = {"result.json", "resume.pt", ".claim", "command.txt"}
"""What runs leave, and no folder of pictures holds by chance."""
RUN_FILES = RUN_MARKS | {"log.txt", "config.yaml", "checkpoint"}
LEFT_BY_SYSTEMS = ("thumbs.db", "desktop.ini")


class Found(NamedTuple):
    """One image of a user's data."""

    path: str  # below the root, with forward slashes
    classname: str  # name of its class folder, or what a list says
    part: str = ""  # train, val or test; empty where nothing says which


def folders(folder: Path) -> list[str]:
    """The names of the sub-folders in code point order, but for hidden ones and those that hold no class.

    Raises:
        CasPLError: the folder cannot be listed, or a name is no Unicode.
    """
    return _classes(folder, class_folders(folder))


def images_below(folder: Path) -> list[str]:
    """The images in a folder and its sub-folders, relative to it and sorted; links are followed, circles are not.

    Raises:
        CasPLError: a folder cannot be listed, or a name is no Unicode.
    """
    return sorted(_below(folder, (), Counter()))


def is_output(folder: Path) -> bool:
    """Whether a folder holds what runs leave, and no image: an output folder among the class folders is no class."""
    left = False
    for _, _, names in os.walk(folder):
        if any(name.lower().endswith(IMAGE_SUFFIXES) for name in names):
            return False
        left = left or any(name in RUN_FILES or name.endswith((".safetensors", ".pth.tar")) for name in names)
    return left


def holds_folders_alone(folder: Path) -> bool:
    """Whether a folder holds sub-folders, and no image beside them."""
    names, images, _ = contents(folder)
    return bool(_classes(folder, names)) and not images


def _below(folder: Path, above: tuple[Path, ...], others: Counter[str]) -> list[str]:
    """The images; counts the suffixes of other files, and what is left by runs."""
    here = folder.resolve()
    if here in above:
        return []
    # One look for all: on a network disk, that at a large folder takes seconds.
    names, files, rest = contents(folder)
    others.update(name if name in RUN_MARKS else Path(name).suffix.lower() for name in rest if _counts(name))
    images = _readable(folder, [name for name in files if not name.lower().startswith("readme.")])
    deeper = ((name, _below(folder / name, (*above, here), others)) for name in _classes(folder, names))
    return [*images, *(f"{name}/{path}" for name, paths in deeper for path in paths)]


def _counts(name: str) -> bool:
    hidden = name.startswith(".") and name not in RUN_MARKS
    return not hidden and name.lower() not in LEFT_BY_SYSTEMS


def _classes(folder: Path, names: list[str]) -> list[str]:
    return _readable(folder, [name for name in names if name not in NO_CLASSES])


def _readable(folder: Path, names: list[str]) -> list[str]:
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise CasPLError(f"the name {name!r} in {folder} is no Unicode: rename it") from error
    return names


def class_images(root: Path, names: Sequence[str], below: str = "", part: str = "") -> list[Found]:
    """The images of class folders; the name of a folder is that of its class.

    Args:
        root: folder to which the paths are relative.
        names: the class folders.
        below: folder in the root that holds them; empty for the root itself.
        part: the list to which their images belong.

    Raises:
        CasPLError: there is no class folder, or one of them holds no image.
    """
    folder = root / below
    if not names:
        raise CasPLError(f"{folder} has no class folders: move each image into a folder named as its class")
    loose = contents(folder)[1] if below else []  # what lies in the root is said by who looks at all of it
    if loose:
        logger.warning("%s has images beside the class folders (%d), which are not used", folder, len(loose))
    found, unread = [], Counter[str]()
    for name in names:
        others = Counter[str]()
        paths = sorted(_below(folder / name, (), others))
        if others.keys() & RUN_MARKS or (not paths and is_output(folder / name)):
            continue  # an output folder, whatever pictures of curves are in it
        if not paths:
            known = ", ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
            raise CasPLError(f"the class folder {folder / name} holds no image ({known}): fill or delete it")
        unread += others
        found += [Found((Path(below) / name / path).as_posix(), name, part) for path in paths]
    if unread:
        said = some([f"{count} {suffix or 'without a suffix'}" for suffix, count in sorted(unread.items())])
        logger.warning("%s has files in its class folders that are not read as images: %s", folder, said)
    return found
