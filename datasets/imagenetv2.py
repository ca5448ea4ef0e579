"""ImageNetV2: new photographs for the 1000 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset


@DATASET_REGISTRY.register()
class ImageNetV2(CoOpDataset):
    """Recht et al., Do ImageNet classifiers generalize to ImageNet? (matched frequency)."""
