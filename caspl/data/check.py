"""Whether a data set on disk is the published one. Nothing is written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from caspl.data.decode import undecodable
from caspl.data.listing import ARCHIVE_ADVICE, found_in, missing_images, say_missing
from caspl.data.official import CLASSNAMES, READERS, classnames_text, has_classnames, read_classnames
from caspl.data.published import CLASSNAMES_BLOB, Published
from caspl.data.split import LISTS, Entry, Split, blob_id, check_split, read_split, split_text
from caspl.errors import CasPLError


def check(published: Published, root: Path, decode: bool = False) -> list[str]:
    """Compare a data set with what is published.

    Args:
        published: what it should be.
        root: the data root.
        decode: also decode every image.

    Returns:
        What is wrong, one sentence each; empty if all is as published.
    """
    folder = root / published.folder
    image_dir = folder / published.images
    if not image_dir.is_dir():
        place = folder if folder.is_dir() else root
        return [f"there is no folder {image_dir} ({found_in(place)}): {_prepare(published, root)}"]
    try:
        split = _read(published, root)
    except CasPLError as error:
        return [str(error)]
    findings = [*check_counts(published, split), *_repeated(split), *_classnames(published, folder)]
    if published.split_file:
        findings += check_content(published, folder / published.split_file, split)
    paths = sorted({entry.path for entries in _lists(split).values() for entry in entries})
    missing = missing_images(image_dir, paths)
    if missing:
        findings.append(say_missing(image_dir, missing, len(paths), ARCHIVE_ADVICE))
    if decode:
        gone = set(missing)
        faults = undecodable(image_dir, [path for path in paths if path not in gone], published.name)
        findings += [f"{image_dir / path} cannot be decoded ({reason})" for path, reason in faults]
    return findings


def check_counts(published: Published, split: Split) -> list[str]:
    """Compare the number of classes and the length of each list."""
    findings = []
    classes = len({entry.label for entry in split.train})
    if classes != published.classes:
        findings.append(f"there are {classes:,} classes instead of {published.classes:,}")
    for name, count in zip(LISTS, published.counts, strict=True):
        found = len(getattr(split, name))
        # Where there are test images only, the list for training repeats them.
        if found != count and not (published.test_only and name == "train"):
            findings.append(f"{name} has {found:,} images instead of {count:,}")
    return findings


def check_content(published: Published, path: Path, split: Split) -> list[str]:
    """Compare a split file with the published one: byte for byte, then by its entries and their order."""
    if published.split_blob in (blob_id(path.read_bytes()), blob_id(split_text(split).encode())):
        return []
    if split.origin:
        what = f"was {split.origin}"
    else:
        what = "is not the published split: others give other figures, even with the same counts"
    return [f"{path} {what}; delete it and put the one of {published.split_urls[0]} in its place"]


def _read(published: Published, root: Path) -> Split:
    folder = root / published.folder
    path = folder / published.split_file
    if not published.split_file:
        try:
            split = READERS[published.name](folder, folder / published.images)
            check_split(split)
        except (ValueError, LookupError) as error:
            raise CasPLError(f"the lists in {folder} do not fit each other: {error}") from error
        return split
    if not path.is_file():
        raise CasPLError(f"the split file {path} is missing: {_prepare(published, root)}")
    return read_split(path)


def _prepare(published: Published, root: Path) -> str:
    return f"python -m caspl.data prepare {published.name} --root {root}"


def _lists(split: Split) -> dict[str, list[Entry]]:
    """The lists by name, without those that stand for another: ImageNet's val is its test list."""
    lists: dict[str, list[Entry]] = {}
    for name in LISTS:
        entries = getattr(split, name)
        if entries not in lists.values():
            lists[name] = entries
    return lists


def _repeated(split: Split) -> list[str]:
    """Images that stand twice, in one list or in two."""
    lists = _lists(split)
    counts = Counter(entry.path for entries in lists.values() for entry in entries)
    repeated = [path for path, count in counts.items() if count > 1]
    if not repeated:
        return []
    where = [name for name, entries in lists.items() if any(entry.path == repeated[0] for entry in entries)]
    return [f"{len(repeated):,} images stand twice in the split, the first is {repeated[0]} in {' and '.join(where)}"]


def _classnames(published: Published, folder: Path) -> list[str]:
    path = folder / CLASSNAMES
    if not has_classnames(published.name) or not path.is_file():
        return []  # then the packaged list serves
    if blob_id(classnames_text(read_classnames(path)).encode()) == CLASSNAMES_BLOB:
        return []
    return [f"{path} is not CLIP's curated list of names, which published figures rest on: delete it, it is replaced"]
