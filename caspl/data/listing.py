"""Folders and lists as the archives of the data sets bring them; every listing is sorted."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from caspl.data.split import Entry
from caspl.errors import CasPLError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")
PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""What folders and lists call the three lists of a split, in lower case."""

NO_CLASSES = ("__MACOSX", "split_fewshot")
"""Folders that archives of macOS, and few-shot sampling, leave."""
ARCHIVE_ADVICE = "extract the archive again, or fetch the one whose file names the split lists"
"""The way out where images of a published data set are missing."""


def class_folders(folder: Path) -> list[str]:
    """The names of the sub-folders in code point order (capitals first), without hidden ones."""
    return _folders(_scan(folder))


def image_files(folder: Path) -> list[str]:
    """The names of the image files in code point order, without hidden ones."""
    return _images(_scan(folder))


def contents(folder: Path) -> tuple[list[str], list[str], list[str]]:
    """Both of the above, and the names of all else, with one look at the folder."""
    items = _scan(folder)
    names, images = _folders(items), _images(items)
    others = {item.name for item in items} - {*names, *images}
    return names, images, sorted(others)


def folder_entries(folder: Path, names: Mapping[str, str], prefix: str = "") -> list[Entry]:
    """The images of the given sub-folders; the position of a sub-folder among ``names`` is its label.

    Args:
        folder: what holds the sub-folders.
        names: class name of each sub-folder.
        prefix: path of ``folder`` below the image folder, ending in a slash.

    Raises:
        CasPLError: there is no sub-folder, or one of them holds no image.
    """
    if not names:
        raise CasPLError(f"{folder} has no class folders: it should hold one folder of images for each class")
    entries: list[Entry] = []
    for label, (name, classname) in enumerate(names.items()):
        files = image_files(folder / name)
        if not files:
            raise CasPLError(f"the class folder {folder / name} holds no image: extract the archive again")
        entries.extend(Entry(f"{prefix}{name}/{file}", label, classname) for file in files)
    return entries


def missing_images(image_dir: Path, paths: Collection[str]) -> list[str]:
    """Those of the paths below ``image_dir`` at which there is no file, sorted.

    Folders are listed once each: on a network disk, asking for a million files one by one takes many minutes.
    """
    folders = {path[: path.rfind("/") + 1] for path in paths}
    present = {f"{folder}{name}" for folder in folders for name in _names(image_dir / folder)}
    # The second look is for links, ".." and file systems that ignore case.
    return sorted(path for path in set(paths) - present if not (image_dir / path).is_file())


def say_missing(
    image_dir: Path, missing: Sequence[str], asked: int, advice: str, what: str = "images of the split"
) -> str:
    """What to say of missing images: how many they are, the first of them, and the way out.

    Args:
        image_dir: folder that should hold them.
        missing: their paths below it, from ``missing_images``.
        asked: number of all that were looked for.
        advice: the way out.
        what: what all of these are.
    """
    return f"{len(missing):,} of {asked:,} {what} are missing, the first is {image_dir / missing[0]}: {advice}"


def require_images(image_dir: Path, paths: Iterable[str], advice: str, what: str = "images of the split") -> None:
    """Look for images.

    Raises:
        CasPLError: some are missing, as ``say_missing`` puts it.
    """
    asked = set(paths)
    missing = missing_images(image_dir, asked)
    if missing:
        raise CasPLError(say_missing(image_dir, missing, len(asked), advice, what))


class Labels(dict[str, int]):
    """Labels by class, as a list gives them; says which list lacks a class."""

    def __init__(self, path: Path, classes: Iterable[str]) -> None:
        super().__init__((name, label) for label, name in enumerate(classes))
        self.path = path

    def __missing__(self, name: str) -> int:
        raise ValueError(f"{name!r} is not in {self.path}")


def read_lines(path: Path, fields: int = 1) -> list[list[str]]:
    """Read a text list: the words of each line; the last of ``fields`` takes the rest of the line.

    Raises:
        CasPLError: the file is missing, or a line has fewer fields.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CasPLError(f"{path} is missing or unreadable: it belongs to the archive of the data set") from error
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.strip().split(None, fields - 1)
        if words and len(words) < fields:
            raise CasPLError(f"{path}, line {number}: {fields} fields are expected, but it reads {line!r}")
        if words:
            lines.append(words)
    return lines


def found_in(folder: Path, most: int = 6) -> str:
    """What lies in a folder, in words, for error messages."""
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return f"{folder} does not exist"
    shown = ", ".join(names[:most]) + (", ..." if len(names) > most else "")
    return f"{folder} holds {shown or 'nothing'}"


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            return list(items)
    except OSError as error:
        raise CasPLError(f"the folder {folder} cannot be listed ({error.strerror})") from error


def _folders(items: Iterable[os.DirEntry[str]]) -> list[str]:
    return sorted(item.name for item in items if item.is_dir() and not item.name.startswith("."))


def _images(items: Iterable[os.DirEntry[str]]) -> list[str]:
    named = [item for item in items if item.name.lower().endswith(IMAGE_SUFFIXES) and not item.name.startswith(".")]
    lost = [item.path for item in named if item.is_symlink() and not os.path.exists(item.path)]
    if lost:
        raise CasPLError(f"the link {lost[0]} leads to nothing: mend or remove it")
    return sorted(item.name for item in named if item.is_file())


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
