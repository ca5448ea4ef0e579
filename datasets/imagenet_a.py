"""ImageNet-A: photographs that classifiers get wrong, 200 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol.wnids import ImageNetVariant


@DATASET_REGISTRY.register()
class ImageNetA(ImageNetVariant):
    """Hendrycks et al., Natural adversarial examples."""

    dataset_dir = "imagenet-adversarial"
    image_folder = "imagenet-a"
