"""Which settings decide a run's outcome, and their hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import yaml
from yacs.config import CfgNode

# Keys that may change between two attempts at the same run.
FREE = (
    "OUTPUT_DIR",
    "RESUME",
    "VERBOSE",
    "DATASET.ROOT",
    "DATALOADER.NUM_WORKERS",
    "DATALOADER.CACHE_BYTES",
    "DATALOADER.CACHE_DIR",
    "TRAIN.",
    "TEST.BATCH_SIZE",
    "TEST.NO_TEST",
    "TRAINER.RECORD.",
    "TRAINER.CASPL.BOOSTING_DIR",
)


def settings(text: str, section: str) -> dict[str, str]:
    """The settings of a dumped config that decide a run's outcome.

    Args:
        text: the config as YAML.
        section: the method's section under ``TRAINER``; other methods' settings do not matter.
    """
    mine = ("TRAINER.NAME", f"TRAINER.{section}.", "TRAINER.CASPL.")
    found = {key: json.dumps(value) for key, value in leaves(yaml.safe_load(text)) if not key.startswith(FREE)}
    return {key: value for key, value in found.items() if not key.startswith("TRAINER.") or key.startswith(mine)}


def recipe(cfg: CfgNode, section: str) -> str:
    """Short hash of the settings that decide a run's outcome."""
    return hashlib.sha256(json.dumps(settings(cfg.dump(), section), sort_keys=True).encode()).hexdigest()[:16]


def leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``KEY.SUB`` -> value of every leaf of a nested config."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
