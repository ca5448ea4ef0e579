"""All trainer classes under one roof: the module path that other repositories import."""

from .base import TrainerBase
from .loops import TrainerX, TrainerXU
from .simple import SimpleNet, SimpleTrainer

__all__ = ["SimpleNet", "SimpleTrainer", "TrainerBase", "TrainerX", "TrainerXU"]
