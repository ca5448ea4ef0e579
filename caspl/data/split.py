"""The split file: which image belongs to which list, with which label and class name.

The format is that of the published ``split_zhou_<Name>.json``: an object with ``train``, ``val`` and ``test``, each
a list of ``[path relative to the image folder, label, class name]``. The order of the items is kept: few-shot
sampling depends on it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from caspl.errors import CasPLError
from caspl.files import write_atomically
from caspl.files.parse import parse_json

LISTS = ("train", "val", "test")


class Entry(NamedTuple):
    """One image of a split."""

    path: str
    label: int
    classname: str


@dataclass(frozen=True)
class Split:
    """The three lists of a data set. ``origin`` says who made it; it is empty for published splits."""

    train: list[Entry]
    val: list[Entry]
    test: list[Entry]
    origin: str = ""

    def digest(self, *more: list[Entry]) -> str:
        """A hash of what few-shot sampling sees: paths and labels of train and val, in order; and of further lists."""
        text = hashlib.sha256()
        for entries in (self.train, self.val, *more):
            text.update("\n".join(f"{entry.label} {entry.path}" for entry in entries).encode())
            text.update(b"\n\n")
        return text.hexdigest()[:16]


def read_split(path: Path) -> Split:
    """Read and check a split file.

    Raises:
        CasPLError: it is no JSON, has another form, or its labels and names contradict each other.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CasPLError(f"the split file {path} cannot be read ({error}): fetch it again") from error
    lists = {"val": [], **content} if isinstance(content, dict) else {}
    if not all(isinstance(lists.get(name), list) for name in LISTS):
        raise CasPLError(f"the split file {path} must be a JSON object with the lists train, test and perhaps val")
    try:
        train, val, test = ([_entry(item) for item in lists[name]] for name in LISTS)
        split = Split(train, val, test, str(content.get("origin", "")))
        check_split(split)
    except ValueError as error:
        raise CasPLError(f"the split file {path} is broken: {error}") from error
    return split


def split_text(split: Split) -> str:
    """A split in the published form, byte for byte; ``origin`` becomes a fourth key, which other readers pass over."""
    content: dict[str, Any] = {name: getattr(split, name) for name in LISTS}
    if split.origin:
        content["origin"] = split.origin
    return json.dumps(content, indent=4, separators=(",", ": "))


def write_split(path: Path, split: Split) -> None:
    """Write a split file in the published form."""
    text = split_text(split)
    write_atomically(path, lambda temporary: Path(temporary).write_text(text, encoding="ascii"))


def blob_id(content: bytes) -> str:
    """What ``git hash-object`` says of a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def check_split(split: Split) -> None:
    """Check what training takes for granted.

    Raises:
        ValueError: train or test is empty, the labels of train are not 0..C-1, a label has two names, an image has
            two labels, or val or test holds a label that train lacks.
    """
    for name in ("train", "test"):
        if not getattr(split, name):
            raise ValueError(f"{name} holds no image")
    names = _unique((entry.label, entry.classname) for entry in split.train)
    missing = sorted(set(range(len(names))) - names.keys())
    if missing:
        wanted = f"0..{len(names) - 1}"
        raise ValueError(
            f"train has {len(names)} classes, so its labels should be {wanted}, but {missing[0]} is missing"
        )
    for name in ("val", "test"):
        for entry in getattr(split, name):
            if entry.label not in names:
                raise ValueError(f"{entry.path} in {name} has the label {entry.label}, which does not occur in train")
    everything = [*split.train, *split.val, *split.test]
    _unique((entry.label, entry.classname) for entry in everything)
    _unique((entry.path, entry.label) for entry in everything)


def _entry(item: Any) -> Entry:
    match item:
        case [str() as path, int() as label, str() as classname] if not isinstance(label, bool):
            pass
        case _:
            raise ValueError(f"{json.dumps(item)} is no [path, label, class name]")
    if not path or "\0" in path or PurePosixPath(path).is_absolute():
        raise ValueError(f"{path!r} is no path relative to the image folder")
    return Entry(path, label, classname)


def _unique(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """A dictionary of the pairs; refuses two values for one key."""
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if found.setdefault(key, value) != value:
            raise ValueError(f"{key!r} stands for both {found[key]!r} and {value!r}")
    return found
