"""ImageNet-R: art, cartoons, toys and other renditions, 200 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol.wnids import ImageNetVariant


@DATASET_REGISTRY.register()
class ImageNetR(ImageNetVariant):
    """Hendrycks et al., The many faces of robustness."""

    dataset_dir = "imagenet-rendition"
    image_folder = "imagenet-r"
