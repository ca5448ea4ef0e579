"""ImageNet: objects, 1000 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset


@DATASET_REGISTRY.register()
class ImageNet(CoOpDataset):
    """Russakovsky et al., ImageNet large scale visual recognition challenge; val serves as val and as test."""

    sample_val = False
