"""EuroSAT: land use in satellite images, 10 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset, Split, folder_split


@DATASET_REGISTRY.register()
class EuroSAT(CoOpDataset):
    """Helber et al., EuroSAT: a novel dataset and deep learning benchmark for land use classification (RGB)."""

    # Part of the benchmark: the names of the folders give other zero-shot figures.
    names = {
        "AnnualCrop": "Annual Crop Land",
        "Forest": "Forest",
        "HerbaceousVegetation": "Herbaceous Vegetation Land",
        "Highway": "Highway or Road",
        "Industrial": "Industrial Buildings",
        "Pasture": "Pasture Land",
        "PermanentCrop": "Permanent Crop Land",
        "Residential": "Residential Buildings",
        "River": "River",
        "SeaLake": "Sea or Lake",
    }

    def make_split(self) -> Split:
        """Rule A; the data set has no official split."""
        return folder_split(self.image_dir, self.names)
