"""Image transforms by name."""

from .build import AVAI_CHOICES, build_transform
from .interpolation import INTERPOLATION_MODES

__all__ = ["AVAI_CHOICES", "INTERPOLATION_MODES", "build_transform"]
