"""A run's folder belongs to one config: going on with other settings in it would mix two runs silently."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

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
    "TRAINER.CASPL.BOOSTING_DIR",
)


def claim(cfg: CfgNode, section: str) -> None:
    """Write ``OUTPUT_DIR/config.yaml`` for a training run.

    Args:
        section: the method's section; other methods' settings do not matter.

    Raises:
        CasPLError: if the folder, or the one in RESUME, holds a run of other settings; if RESUME holds none.
    """
    here = settings(cfg.dump(), section)
    own = Path(cfg.OUTPUT_DIR)
    if cfg.RESUME and not _begun(Path(cfg.RESUME)):
        raise CasPLError(f"there is nothing to resume in {cfg.RESUME}")
    for folder in dict.fromkeys((own, Path(cfg.RESUME or own))):
        if _begun(folder):
            _compare(folder, here, section)
    write_atomically(own / "config.yaml", lambda path: Path(path).write_text(cfg.dump(), encoding="utf-8"))


def settings(text: str, section: str) -> dict[str, str]:
    """The settings of a dumped config that decide a run's outcome."""
    mine = ("TRAINER.NAME", f"TRAINER.{section}.", "TRAINER.CASPL.")
    found = {key: json.dumps(value) for key, value in leaves(yaml.safe_load(text)) if not key.startswith(FREE)}
    return {key: value for key, value in found.items() if not key.startswith("TRAINER.") or key.startswith(mine)}


def recipe(cfg: CfgNode, section: str) -> str:
    """Short hash of the settings that decide a run's outcome."""
    return hashlib.sha256(json.dumps(settings(cfg.dump(), section), sort_keys=True).encode()).hexdigest()[:16]


def _begun(folder: Path) -> bool:
    return (folder / "resume.pt").is_file() or any(folder.glob("*/checkpoint"))


def _compare(folder: Path, here: dict[str, str], section: str) -> None:
    try:
        there = settings((folder / "config.yaml").read_text(encoding="utf-8"), section)
    except FileNotFoundError:
        return  # a run of another program
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
        raise CasPLError(f"{folder / 'config.yaml'} cannot be read; use another --output-dir") from error
    differing = [key for key in here if key in there and there[key] != here[key]]
    if differing:
        examples = ", ".join(f"{key} {there[key]} there, {here[key]} here" for key in differing[:3])
        raise CasPLError(f"{folder} holds a run of other settings ({examples}); use another --output-dir, or delete it")
