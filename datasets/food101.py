"""Food-101: dishes, 101 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset, Split, folder_split


@DATASET_REGISTRY.register()
class Food101(CoOpDataset):
    """Bossard et al., Food-101: mining discriminative components with random forests."""

    def make_split(self) -> Split:
        """Rule A; the official split is not used."""
        return folder_split(self.image_dir)
