"""Registration: a method's trainer, its config section, and its cascaded form ``CasPL_<name>``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from yacs.config import CfgNode

from dassl.engine import TRAINER_REGISTRY

if TYPE_CHECKING:
    from trainers.base import PromptTrainer

    Trainer = TypeVar("Trainer", bound=type[PromptTrainer])

SECTIONS: dict[str, dict[str, Any]] = {}
"""Name of a section under ``TRAINER`` -> its keys and defaults."""

BOOSTED_PREFIX = "CasPL_"


def register(trainer: Trainer) -> Trainer:
    """Register a trainer under its class name, its section, and ``CasPL_<name>`` if it can be cascaded.

    ``CasPL_X`` is X whose cascade holds the frozen boosting segments too, and nothing else.
    """
    TRAINER_REGISTRY.register()(trainer)
    SECTIONS[trainer.section] = trainer.defaults
    if trainer.cascades:
        name = BOOSTED_PREFIX + trainer.__name__
        doc = f"{trainer.__name__} cascaded behind frozen boosting tokens (CasPL, phase 2)."
        boosted = type(name, (trainer,), {"boosted": True, "__doc__": doc, "__module__": trainer.__module__})
        TRAINER_REGISTRY.register()(boosted)
    return trainer


def extend_cfg(cfg: CfgNode) -> None:
    """Add what the registered trainers and data sets read to a default config, in place."""
    for section, defaults in SECTIONS.items():
        cfg.TRAINER[section] = CfgNode(dict(defaults))
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"
    cfg.TRAINER.RECORD = CfgNode({"PROTOCOL": "", "CONFIG": ""})  # what result.json calls the run
