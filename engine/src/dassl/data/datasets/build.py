"""Data sets by name."""

from __future__ import annotations

from typing import Any

from yacs.config import CfgNode

from ...utils.logger import logger
from ...utils.registry import Registry, check_availability

__all__ = ["DATASET_REGISTRY", "build_dataset"]

DATASET_REGISTRY = Registry("DATASET")


def build_dataset(cfg: CfgNode) -> Any:
    """Build the data set that ``cfg.DATASET.NAME`` names; ValueError, with the nearest name, if unknown."""
    check_availability(cfg.DATASET.NAME, DATASET_REGISTRY.registered_names())
    if cfg.VERBOSE:
        logger.info("Loading dataset: %s", cfg.DATASET.NAME)
    return DATASET_REGISTRY.get(cfg.DATASET.NAME)(cfg)
