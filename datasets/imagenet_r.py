"""ImageNet-R: art, cartoons, toys and other renditions, 200 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset


@DATASET_REGISTRY.register()
class ImageNetR(CoOpDataset):
    """Hendrycks et al., The many faces of robustness."""
