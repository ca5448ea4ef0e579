"""ImageNet-Sketch: drawings of the 1000 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset


@DATASET_REGISTRY.register()
class ImageNetSketch(CoOpDataset):
    """Wang et al., Learning robust global representations by penalizing local predictive power."""
