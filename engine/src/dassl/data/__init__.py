"""Data: data sets, transforms, samplers, loaders."""

from .data_manager import DataManager
from .wrapper import DatasetWrapper

__all__ = ["DataManager", "DatasetWrapper"]
