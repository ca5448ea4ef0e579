"""Caltech-101: objects, 100 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset, Split, folder_split


@DATASET_REGISTRY.register()
class Caltech101(CoOpDataset):
    """Fei-Fei et al., Learning generative visual models from few training examples."""

    ignored = ("BACKGROUND_Google", "Faces_easy")
    names = {"airplanes": "airplane", "Faces": "face", "Leopards": "leopard", "Motorbikes": "motorbike"}

    def make_split(self) -> Split:
        """Rule A over the folders."""
        return folder_split(self.image_dir, self.names, self.ignored)
