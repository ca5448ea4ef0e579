"""ImageNet-A: photographs that classifiers get wrong, 200 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import CoOpDataset


@DATASET_REGISTRY.register()
class ImageNetA(CoOpDataset):
    """Hendrycks et al., Natural adversarial examples."""
