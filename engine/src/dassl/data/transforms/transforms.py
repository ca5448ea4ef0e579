"""All transforms under one roof: the module path that other repositories import."""

from .autoaugment import CIFAR10Policy, ImageNetPolicy, SVHNPolicy
from .basic import Cutout, GaussianNoise, InstanceNormalization, Random2DTranslation
from .build import AVAI_CHOICES, _build_transform_test, _build_transform_train, build_transform
from .interpolation import INTERPOLATION_MODES
from .randaugment import RandAugment, RandAugment2, RandAugmentFixMatch

__all__ = [
    "AVAI_CHOICES",
    "INTERPOLATION_MODES",
    "CIFAR10Policy",
    "Cutout",
    "GaussianNoise",
    "ImageNetPolicy",
    "InstanceNormalization",
    "RandAugment",
    "RandAugment2",
    "RandAugmentFixMatch",
    "Random2DTranslation",
    "SVHNPolicy",
    "_build_transform_test",
    "_build_transform_train",
    "build_transform",
]
