"""Trainers by name."""

from __future__ import annotations

from typing import Any

from yacs.config import CfgNode

from ..utils.logger import logger
from ..utils.registry import Registry, check_availability

__all__ = ["TRAINER_REGISTRY", "build_trainer"]

TRAINER_REGISTRY = Registry("TRAINER")


def build_trainer(cfg: CfgNode) -> Any:
    """Build the trainer that ``cfg.TRAINER.NAME`` names; ValueError, with the nearest name, if unknown."""
    check_availability(cfg.TRAINER.NAME, TRAINER_REGISTRY.registered_names())
    if cfg.VERBOSE:
        logger.info("Loading trainer: %s", cfg.TRAINER.NAME)
    return TRAINER_REGISTRY.get(cfg.TRAINER.NAME)(cfg)
