"""All trainer classes under one roof: the module path that other repositories import."""

from ..utils.meters import AverageMeter, MetricMeter
from .base import TrainerBase
from .loops import TrainerX, TrainerXU
from .simple import SimpleNet, SimpleTrainer
from .writer import SummaryWriter

__all__ = [
    "AverageMeter",
    "MetricMeter",
    "SimpleNet",
    "SimpleTrainer",
    "SummaryWriter",
    "TrainerBase",
    "TrainerX",
    "TrainerXU",
]
