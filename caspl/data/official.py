"""The data sets that come with their split: FGVC-Aircraft in text lists, ImageNet and its variants in folders."""

from __future__ import annotations

import importlib.resources
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from caspl.data.listing import Labels, class_folders, folder_entries, image_files, read_lines
from caspl.data.split import Entry, Split
from caspl.errors import CasPLError

logger = logging.getLogger(__name__)

CLASSNAMES = "classnames.txt"


def aircraft_split(folder: Path, image_dir: Path) -> Split:
    """Read variants.txt and images_variant_{train,val,test}.txt."""
    del image_dir  # the lists say all
    variants = folder / "variants.txt"
    labels = Labels(variants, (line for (line,) in read_lines(variants)))

    def entries(name: str) -> list[Entry]:
        lines = read_lines(folder / f"images_variant_{name}.txt", fields=2)
        return [Entry(f"{image}.jpg", labels[variant], variant) for image, variant in lines]

    return Split(entries("train"), entries("val"), entries("test"))


def imagenet_split(folder: Path, image_dir: Path) -> Split:
    """List train/ and val/, which serves as val and as test. No cache is needed: listing the folders takes seconds."""
    names = read_classnames(folder / CLASSNAMES)
    train, test = (_wnid_entries(image_dir / part, names, f"{part}/") for part in ("train", "val"))
    # Labels are ranks, so a folder that one part lacks would shift them against each other.
    wnids = [set(class_folders(image_dir / part)) for part in ("train", "val")]
    if wnids[0] != wnids[1]:
        one = min(wnids[0] ^ wnids[1])
        raise CasPLError(f"train and val in {image_dir} need the same class folders, but {one} is in one only")
    return Split(train, test, test)


def wnid_split(folder: Path, image_dir: Path) -> Split:
    """List the folders of a variant; the list for training is the test list, and tells the classes."""
    entries = _wnid_entries(image_dir, read_classnames(folder / CLASSNAMES))
    return Split(entries, [], entries)


def numbered_split(folder: Path, image_dir: Path) -> Split:
    """List the folders 0, 1, ... in the order of numbers; label k has the name in line k of classnames.txt."""
    names = list(read_classnames(folder / CLASSNAMES).values())
    # Sorted as text, 10 would come before 2.
    folders = sorted(class_folders(image_dir), key=int)
    if folders != [str(label) for label in range(len(folders))] or len(folders) > len(names):
        raise ValueError(f"the folders should be 0, 1, ... without a gap, at most {len(names)} of them")
    entries = folder_entries(image_dir, {name: names[int(name)] for name in folders})
    return Split(entries, [], entries)


READERS: dict[str, Callable[[Path, Path], Split]] = {
    "FGVCAircraft": aircraft_split,
    "ImageNet": imagenet_split,
    "ImageNetV2": numbered_split,
    "ImageNetSketch": wnid_split,
    "ImageNetA": wnid_split,
    "ImageNetR": wnid_split,
}
"""How the split of a data set is read from its folder and its image folder.

They raise ``CasPLError`` where something is missing or damaged, ``ValueError`` where the parts contradict each other.
"""


def has_classnames(name: str) -> bool:
    """Whether a data set takes its class names from classnames.txt."""
    return READERS.get(name, aircraft_split) is not aircraft_split


def read_classnames(path: Path) -> dict[str, str]:
    """Read the names of CLIP's curated list by id, in the order of the file: lines "n01440764 tench".

    A missing file is replaced by the same list from open_clip (names) and timm (ids).

    Raises:
        CasPLError: the file is missing and so are the packages, or an id occurs twice.
    """
    if path.is_file():
        lines = read_lines(path, fields=2)
    else:
        try:
            lines = packaged_classnames()
        except CasPLError as error:
            raise CasPLError(
                f"{path} is missing: copy the list of CoOp there (lines such as 'n01440764 tench')"
            ) from error
        logger.info("%s is missing: the class names come from open_clip, whose list is the same", path)
    names = {line[0]: line[1] for line in lines}
    if len(names) != len(lines):
        raise CasPLError(f"{path} names {len(lines) - len(names)} ids twice")
    return names


def classnames_text(names: Mapping[str, str]) -> str:
    """The content of classnames.txt."""
    return "".join(f"{wnid} {name}\n" for wnid, name in names.items())


def packaged_classnames() -> list[list[str]]:
    """The pairs of id and name of CLIP's curated list, in the order of ids.

    Raises:
        CasPLError: open_clip or timm is not installed.
    """
    try:
        from open_clip import IMAGENET_CLASSNAMES

        wnids = importlib.resources.files("timm").joinpath("data/_info/imagenet_synsets.txt").read_text().split()
    except (ImportError, OSError) as error:
        raise CasPLError("ImageNet's class names come with two packages: pip install open_clip_torch timm") from error
    return [[wnid, name] for wnid, name in zip(wnids, IMAGENET_CLASSNAMES, strict=True)]


def _wnid_entries(folder: Path, names: dict[str, str], prefix: str = "") -> list[Entry]:
    """The images of the class folders; a label is the rank of the folder in sorted order."""
    wnids = class_folders(folder)
    if not wnids and image_files(folder):
        raise CasPLError(
            f"the images in {folder} are not sorted into class folders: move each into the folder of its "
            "WordNet id (python -m caspl.data prepare ImageNet does that, given the development kit)"
        )
    unnamed = [wnid for wnid in wnids if wnid not in names]
    if unnamed:
        raise CasPLError(f"{len(unnamed)} folders in {folder} are not in classnames.txt, the first is {unnamed[0]}")
    return folder_entries(folder, {wnid: names[wnid] for wnid in wnids}, prefix)
