"""A run's folder belongs to one config: going on with other settings in it would mix two runs silently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from caspl.errors import CasPLError
from caspl.files import write_atomically
from trainers.config import leaves

# Keys that may change between two attempts at the same run.
FREE = (
    "OUTPUT_DIR",
    "RESUME",
    "VERBOSE",
    "DATASET.ROOT",
    "DATALOADER.NUM_WORKERS",
    "TRAIN.",
    "TEST.BATCH_SIZE",
    "TEST.NO_TEST",
    "TRAINER.RECORD.",
)


def claim(cfg: CfgNode) -> Path:
    """Write ``OUTPUT_DIR/config.yaml`` for a training run.

    Raises:
        CasPLError: if the folder holds a run of other settings.
    """
    path = Path(cfg.OUTPUT_DIR) / "config.yaml"
    here = _settings(yaml.safe_load(cfg.dump()))
    if path.is_file():
        try:
            there = _settings(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (yaml.YAMLError, AttributeError) as error:
            raise CasPLError(f"{path} cannot be read; delete the folder or use another --output-dir") from error
        differing = [key for key in here if there.get(key) != here[key]]
        if differing:
            examples = ", ".join(f"{key} {there.get(key)} there, {here[key]} here" for key in differing[:3])
            raise CasPLError(
                f"{cfg.OUTPUT_DIR} holds a run of other settings ({examples}); use another --output-dir, or delete it"
            )
    return write_atomically(path, lambda temporary: Path(temporary).write_text(cfg.dump(), encoding="utf-8"))


def _settings(content: dict[str, Any]) -> dict[str, str]:
    return {key: json.dumps(value) for key, value in leaves(content) if not key.startswith(FREE)}
