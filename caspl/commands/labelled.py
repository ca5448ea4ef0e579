"""Pictures with their classes, for ``evaluate`` and ``calibrate``: folders of classes, or a list of a split."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from caspl.data.listing import NO_CLASSES, PARTS, class_folders, require_images
from caspl.data.split import Split, read_split
from caspl.errors import CasPLError
from caspl.predictor import Predictor
from caspl.predictor.images import pictures_below


def labelled(
    root: Path, classes: Sequence[str], part: str = "test", trained_on: str = ""
) -> tuple[list[Path], list[int]]:
    """Labelled pictures and the places of their classes among ``classes``.

    Args:
        root: a folder of class folders, or one that holds such a folder for ``part``; or pictures of one's own beside
            the split file that a run has made or taken, or that file: then the list ``part`` of the split counts.
        classes: of the model.
        part: ``test`` or ``val``.
        trained_on: digest of the split that the model was trained on, which goes first among several.

    Raises:
        CasPLError: if there are none, a class is none of the model's, or there are several splits.
    """
    if root.is_file():
        return _listed(root, read_split(root), classes, part, trained_on)
    lists = {name: PARTS[name.lower()] for name in class_folders(root) if name.lower() in PARTS}
    for name in lists:
        if lists[name] == part:
            return _in_folders(root / name, classes)
    splits = {path: read_split(path) for path in sorted(root.glob("split*.json"))}
    own = [path for path, split in splits.items() if split.digest(split.test) == trained_on]
    if len(splits) > 1 and not own:
        names = ", ".join(path.name for path in splits)
        raise CasPLError(f"{root} holds several splits ({names}): name the file, --root FILE")
    if splits:
        path = [*own, *splits][0]
        return _listed(path, splits[path], classes, part, trained_on)
    if lists:
        raise CasPLError(f"{root} has {' and '.join(lists)}, but no {part}: name the folder that you mean, --root DIR")
    return _in_folders(root, classes)


def split_of(model: Predictor) -> str:
    """Digest of the split that a model was trained on; empty if it does not say."""
    return str(model.about.get("trained_on", {}).get("split", ""))


def _in_folders(folder: Path, classes: Sequence[str]) -> tuple[list[Path], list[int]]:
    names = [name for name in class_folders(folder) if name not in NO_CLASSES]
    places = _places(folder, names, classes, "the folder", "rename it")
    paths: list[Path] = []
    labels: list[int] = []
    for name in names:
        found = pictures_below(folder / name)
        paths += found
        labels += [places[name]] * len(found)
    return paths, labels


def _listed(
    path: Path, split: Split, classes: Sequence[str], part: str, trained_on: str
) -> tuple[list[Path], list[int]]:
    entries = getattr(split, part)
    if not entries:
        raise CasPLError(f"{path} lists no pictures for {part}: name a folder of them, --root DIR")
    places = _places(path, list(dict.fromkeys(entry.classname for entry in entries)), classes, "the class", "mend it")
    require_images(path.parent, [entry.path for entry in entries], "--root is the folder that the split was made of")
    print(f"the {len(entries)} pictures for {part} of {path}", file=sys.stderr)
    if trained_on and split.digest(split.test) != trained_on:
        print(
            "careful: the model was trained on another split, and may have seen some of these pictures", file=sys.stderr
        )
    return [path.parent / entry.path for entry in entries], [places[entry.classname] for entry in entries]


def _places(where: Path, names: Sequence[str], classes: Sequence[str], what: str, advice: str) -> dict[str, int]:
    """The place of each name among the model's classes; capitals and underscores do not matter."""
    known = {name.lower(): place for place, name in enumerate(classes)}
    read = {name: name.replace("_", " ").lower() for name in names}
    unknown = [name for name, said in read.items() if said not in known]
    if unknown or not read:
        wrong = f"{what} {unknown[0]!r} is of none of the model's" if unknown else "there are no folders of the"
        shown = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
        raise CasPLError(
            f"{where}: {wrong} {len(classes)} classes ({shown}): {advice}, or name all classes with --classes"
        )
    return {name: known[said] for name, said in read.items()}
