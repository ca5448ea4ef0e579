"""Trainers: the loops around a method's model and losses."""

from .base import TrainerBase
from .build import TRAINER_REGISTRY, build_trainer
from .loops import TrainerX, TrainerXU
from .simple import SimpleNet, SimpleTrainer

__all__ = [
    "TRAINER_REGISTRY",
    "SimpleNet",
    "SimpleTrainer",
    "TrainerBase",
    "TrainerX",
    "TrainerXU",
    "build_trainer",
]
