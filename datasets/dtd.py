"""DTD: textures, 47 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset, Split, folder_split


@DATASET_REGISTRY.register()
class DescribableTextures(CoOpDataset):
    """Cimpoi et al., Describing textures in the wild."""

    def make_split(self) -> Split:
        """Rule A; the ten official splits are not used."""
        return folder_split(self.image_dir)
