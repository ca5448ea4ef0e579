"""ImageNet: objects, 1000 classes."""

from pathlib import Path

from caspl.errors import CasPLError
from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset, Split
from datasets.protocol.listing import class_folders
from datasets.protocol.wnids import read_classnames, wnid_entries


@DATASET_REGISTRY.register()
class ImageNet(CoOpDataset):
    """Russakovsky et al., ImageNet large scale visual recognition challenge; val serves as val and as test."""

    dataset_dir = "imagenet"
    image_folder = "images"
    sample_val = False

    def make_split(self) -> Split:
        """List train/ and val/. No cache is needed: listing the folders takes seconds."""
        names = read_classnames(Path(self.dataset_dir) / "classnames.txt")
        train, test = (wnid_entries(self.image_dir / part, names, f"{part}/") for part in ("train", "val"))
        # Labels are ranks, so a folder that one part lacks would shift them against each other.
        wnids = [set(class_folders(self.image_dir / part)) for part in ("train", "val")]
        if wnids[0] != wnids[1]:
            one = min(wnids[0] ^ wnids[1])
            raise CasPLError(f"train and val in {self.image_dir} need the same class folders, but {one} is in one only")
        return Split(train, test, test)
