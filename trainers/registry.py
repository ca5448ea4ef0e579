"""Registration: a method's trainer, its config section, and its cascaded form ``CasPL_<name>``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from yacs.config import CfgNode

from caspl.dassl.section import BOOSTED_PREFIX
from dassl.engine import TRAINER_REGISTRY

if TYPE_CHECKING:
    from trainers.base import PromptTrainer

    Trainer = TypeVar("Trainer", bound=type[PromptTrainer])

SECTIONS: dict[str, dict[str, Any]] = {}
"""Name of a section under ``TRAINER`` -> its keys and defaults."""

FOLDER = {
    "LIST": "",  # .csv, .tsv or .json with the columns path, class and perhaps split; or a split file in CoOp's form
    "CLASSNAMES": "",  # what prompts call the classes: a JSON object folder -> name, or lines "folder name"
    "RATIOS": (0.5, 0.2, 0.3),  # train, val and test of each class, where neither folders nor lists say which is which
    "SPLIT_SEED": 1,
    "UNLABELLED": "",  # folder or list of the images that phase 1 looks at; empty: the training images
}
"""Keys of ``DATASET.FOLDER`` for the data set ``Folder``; files and folders are given relative to ``DATASET.ROOT``."""


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
    cfg.DATASET.TEMPLATE = ""  # for zero-shot CLIP and the teacher; empty: the data set's own
    cfg.DATASET.FOLDER = CfgNode(dict(FOLDER))
    cfg.TRAINER.RECORD = CfgNode({"PROTOCOL": "", "CONFIG": ""})  # what result.json calls the run
