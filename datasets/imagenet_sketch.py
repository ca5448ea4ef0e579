"""ImageNet-Sketch: drawings of the 1000 classes."""

from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol.wnids import ImageNetVariant


@DATASET_REGISTRY.register()
class ImageNetSketch(ImageNetVariant):
    """Wang et al., Learning robust global representations by penalizing local predictive power."""

    dataset_dir = "imagenet-sketch"
    image_folder = "images"
