"""A look at pictures of one's own before hours are spent on them: each is decoded once and compared with all others."""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from caspl.data.decode import of_each
from caspl.errors import CasPLError
from caspl.predictor.images import read_picture

MOST = 10
"""Pictures that are named of those with one thing in common."""
TEST, TRAIN = "test", "train"
TURNED = 0x0112  # EXIF's orientation, 1 for a picture that is not


class Labelled(NamedTuple):
    """A picture in a list.

    Args:
        path: of the file.
        classname: of its class; empty where there are no labels.
    """

    path: str
    classname: str = ""


class Seen(NamedTuple):
    """A picture that was looked at.

    Args:
        path: of the file.
        digest: of its bytes; empty where they cannot be had.
        fault: why it cannot be used; empty if it can.
        odd: what is not used of it.
    """

    path: str
    digest: bytes
    fault: str
    odd: tuple[str, ...]


class Findings(NamedTuple):
    """Sentences.

    Args:
        faults: what is to be mended.
        notes: what one should know.
    """

    faults: list[str]
    notes: list[str]


def look_at(paths: Sequence[str], title: str) -> list[Seen]:
    """Decode every picture as training does, in threads behind a progress bar.

    Args:
        paths: of the files.
        title: of the bar.
    """
    return of_each(paths, _look, title)


def report(lists: Mapping[str, Sequence[Labelled]], seen: Iterable[Seen], root: Path) -> Findings:
    """What is wrong with pictures, and what is odd about them.

    Args:
        lists: the pictures of each list: ``train``, ``val``, ``test``, perhaps others; a picture may be in several.
        seen: all of them, looked at.
        root: folder that sentences leave out of paths.
    """
    found, odd, digests = Findings([], []), defaultdict(list), {}
    for one in seen:
        digests[one.path] = one.digest
        if one.fault:
            found.faults.append(one.fault.replace(one.path, _short(one.path, root)))
        for word in one.odd:
            odd[word].append(_short(one.path, root))
    found.notes.extend(f"{what}: {_some(paths)}" for what, paths in sorted(odd.items()))
    same = _identical(lists, digests, root)
    found.faults.extend(f"{what}: {_some(same[what])}" for what in (LEAK, LABELS) if what in same)
    found.notes.extend(f"{what}: {_some(same[what])}" for what in (TWO_LISTS, TWICE) if what in same)
    return found


LEAK = "in the test and in another list, byte for byte, so that results may be too good"
LABELS = "the same picture under two classes of one list"
TWO_LISTS = "the same picture in two lists"
TWICE = "the same picture twice in one class"


def _identical(
    lists: Mapping[str, Sequence[Labelled]], digests: Mapping[str, bytes], root: Path
) -> dict[str, list[str]]:
    """Groups of identical pictures by what is to be said of them."""
    groups: dict[bytes, dict[tuple[str, str], str]] = defaultdict(dict)
    for name, pictures in lists.items():
        for path, classname in pictures:
            if digests.get(path):
                groups[digests[path]][name, path] = classname
    found = defaultdict(list)
    for group in groups.values():
        if len(group) < 2:
            continue
        parts = {name for name, _ in group}
        labels = {(name, classname) for (name, _), classname in group.items()}
        if TEST in parts and len(parts) > 1:
            what = LEAK
        elif len(labels) > len(parts):
            what = LABELS
        else:
            what = TWO_LISTS if len(parts) > 1 else TWICE
        found[what].append(" = ".join(f"{_short(path, root)} ({name})" for name, path in group))
    return found


def _look(path: str) -> Seen:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        return Seen(path, b"", f"the picture {path} cannot be read: {error.strerror}", ())
    digest = hashlib.sha256(content).digest()
    try:
        read_picture(io.BytesIO(content), path)
        with Image.open(io.BytesIO(content)) as image:
            return Seen(path, digest, "", tuple(_odd(image)))
    except CasPLError as error:
        return Seen(path, digest, str(error), ())
    except Exception as error:  # Pillow's readers fail in many ways on damaged files
        return Seen(path, digest, f"the picture {path} cannot be read: {type(error).__name__}: {error}", ())


def _odd(image: Image.Image) -> Iterable[str]:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        yield "transparency is dropped, and the colour beneath it shows"
    if image.mode == "CMYK":
        yield "CMYK is converted without its colour profile"
    if image.mode.startswith("I"):
        yield "of 16 bits the high eight are taken"
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # phones put a preview behind their JPEG
        yield "of an animation, or several pages, the first picture is taken"
    if image.getexif().get(TURNED, 1) != 1:
        yield "a turn that EXIF notes is not made"


def _short(path: str, root: Path) -> str:
    return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else path


def _some(texts: Sequence[str]) -> str:
    more = f", and {len(texts) - MOST:,} more" if len(texts) > MOST else ""
    return ", ".join(texts[:MOST]) + more
