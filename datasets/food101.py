"""Food-101: dishes, 101 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset, Split, folder_split


@DATASET_REGISTRY.register()
class Food101(CoOpDataset):
    """Bossard et al., Food-101: mining discriminative components with random forests."""

    dataset_dir = "food-101"
    image_folder = "images"
    split_file = "split_zhou_Food101.json"
    split_id = "1QK0tGi096I0Ba6kggatX1ee6dJFIcEJl"

    def make_split(self) -> Split:
        """Rule A; the official split is not used."""
        return folder_split(self.image_dir)
