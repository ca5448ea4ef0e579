"""ImageNet and its variants: folders named by WordNet ids, names in classnames.txt."""

from __future__ import annotations

import importlib.resources
import logging
from pathlib import Path

from caspl.errors import CasPLError
from datasets.protocol.dataset import CoOpDataset
from datasets.protocol.listing import class_folders, folder_entries, image_files, read_lines
from datasets.protocol.split import Entry, Split

logger = logging.getLogger(__name__)


def read_classnames(path: Path) -> dict[str, str]:
    """Read the names of CLIP's curated list by id, in the order of the file: lines "n01440764 tench".

    A missing file is replaced by the same list from open_clip (names) and timm (ids).

    Raises:
        CasPLError: the file is missing and so are the packages, or an id occurs twice.
    """
    if path.is_file():
        lines = read_lines(path, fields=2)
    else:
        lines = _packaged_classnames(path)
        logger.info("%s is missing: the class names come from open_clip, whose list is the same", path)
    names = {line[0]: line[1] for line in lines}
    if len(names) != len(lines):
        raise CasPLError(f"{path} names {len(lines) - len(names)} ids twice")
    return names


def wnid_entries(folder: Path, names: dict[str, str], prefix: str = "") -> list[Entry]:
    """The images of the class folders; a label is the rank of the folder in sorted order.

    Raises:
        CasPLError: the images are not sorted into class folders, or a folder has no name.
    """
    wnids = class_folders(folder)
    if not wnids and image_files(folder):
        raise CasPLError(
            f"the images in {folder} are not sorted into class folders: move each into the folder of its "
            "WordNet id (torchvision.datasets.ImageNet does that when it unpacks the archive)"
        )
    unnamed = [wnid for wnid in wnids if wnid not in names]
    if unnamed:
        raise CasPLError(f"{len(unnamed)} folders in {folder} are not in classnames.txt, the first is {unnamed[0]}")
    return folder_entries(folder, {wnid: names[wnid] for wnid in wnids}, prefix)


class ImageNetVariant(CoOpDataset):
    """Test images only, in folders named by id; labels count the classes that the variant has."""

    test_only = True

    def make_split(self) -> Split:
        """List the images; the list for training is the test list, and tells the classes."""
        entries = wnid_entries(self.image_dir, read_classnames(Path(self.dataset_dir) / "classnames.txt"))
        return Split(entries, [], entries)


def _packaged_classnames(path: Path) -> list[list[str]]:
    try:
        from open_clip import IMAGENET_CLASSNAMES

        wnids = importlib.resources.files("timm").joinpath("data/_info/imagenet_synsets.txt").read_text().split()
    except (ImportError, OSError) as error:
        raise CasPLError(f"{path} is missing: copy the list of CoOp there (lines such as 'n01440764 tench')") from error
    return [[wnid, name] for wnid, name in zip(wnids, IMAGENET_CLASSNAMES, strict=True)]
