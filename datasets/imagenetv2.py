"""ImageNetV2: new photographs for the 1000 classes."""

from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import Split
from datasets.protocol.listing import class_folders, folder_entries
from datasets.protocol.wnids import ImageNetVariant, read_classnames


@DATASET_REGISTRY.register()
class ImageNetV2(ImageNetVariant):
    """Recht et al., Do ImageNet classifiers generalize to ImageNet? (matched frequency)."""

    dataset_dir = "imagenetv2"
    image_folder = "imagenetv2-matched-frequency-format-val"

    def make_split(self) -> Split:
        """List the folders 0, 1, ... in the order of numbers; label k has the name in line k of classnames.txt."""
        names = list(read_classnames(Path(self.dataset_dir) / "classnames.txt").values())
        # Sorted as text, 10 would come before 2.
        folders = sorted(class_folders(self.image_dir), key=int)
        if folders != [str(label) for label in range(len(folders))] or len(folders) > len(names):
            raise ValueError(f"the folders should be 0, 1, ... without a gap, at most {len(names)} of them")
        entries = folder_entries(self.image_dir, {folder: names[int(folder)] for folder in folders})
        return Split(entries, [], entries)
