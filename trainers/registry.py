"""Registration: a method's trainer, its config section, and its wrapped forms, such as ``CasPL_<name>``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from yacs.config import CfgNode

from caspl.dassl.stepping import TRAIN
from dassl.engine import TRAINER_REGISTRY

if TYPE_CHECKING:
    from trainers.base import PromptTrainer

    Trainer = TypeVar("Trainer", bound=type[PromptTrainer])

SECTIONS: dict[str, dict[str, Any]] = {}
"""Name of a section under ``TRAINER`` -> its keys and defaults."""


@dataclass(frozen=True)
class Wrapper:
    """What makes another trainer of every method, without the method's knowing.

    Args:
        prefix: before the method's name.
        section, defaults: the wrapper's section under ``TRAINER``.
        mixin: in front of the method's class; overrides hooks of :class:`trainers.base.PromptTrainer`.
        doc: of the classes made; ``{}`` is the method's name.
        takes: whether a method can be wrapped.
        makes_methods: whether what it makes is a method itself, which the other wrappers wrap: ``CasPL_KDPL_X``.
    """

    prefix: str
    section: str
    defaults: dict[str, Any]
    mixin: type
    doc: str
    takes: Callable[[Any], bool] = lambda trainer: trainer.cascades
    makes_methods: bool = False


OURS: set[str] = set()
"""Those of them that belong to this folder's trainers, not to users'."""

WRAPPERS: list[Wrapper] = []
_methods: list[Any] = []
_made: list[Any] = []
"""Those of them that a wrapper has made."""

FOLDER = {
    # .csv, .tsv or .json with the columns path, class and perhaps split; a split file in CoOp's form; or "folders"
    "LIST": "",
    "CLASSNAMES": "",  # what prompts call the classes: a JSON object folder -> name, or lines "folder name"
    "RATIOS": (0.5, 0.2, 0.3),  # train, val and test of each class, where neither folders nor lists say which is which
    "SPLIT_SEED": 1,
    "UNLABELLED": "",  # folder or list of the images that phase 1 looks at; empty: the training images
    "CLASSES": "",  # of the data set Pictures, which has no labels: a file with the name of a class on each line
    "TRAINED_CLASSES": (),  # --eval-only: images of some of these are judged among all; empty: those of the checkpoint
}
"""Keys of ``DATASET.FOLDER`` for the data set ``Folder``; files and folders are given relative to ``DATASET.ROOT``."""


def register(trainer: Trainer) -> Trainer:
    """Register a trainer under its class name, its section, and every wrapped form that it can have.

    ``CasPL_X`` is X whose cascade holds the frozen boosting segments too, and nothing else.

    Raises:
        TypeError: if the class does not say its section or its defaults.
    """
    missing = [name for name in ("section", "defaults") if not hasattr(trainer, name)]
    if missing:
        raise TypeError(f"{trainer.__name__} has no {' and no '.join(missing)}: every method states both")
    TRAINER_REGISTRY.register()(trainer)
    _know(trainer.section, {"PREC": "fp32", **trainer.defaults}, trainer)
    _methods.append(trainer)
    for wrapper in WRAPPERS:
        _register_wrapped(trainer, wrapper)
    return trainer


def wrap(wrapper: Wrapper) -> None:
    """Make a wrapper known: every method, whenever it is registered, has its form from now on."""
    _know(wrapper.section, wrapper.defaults, wrapper.mixin)
    WRAPPERS.append(wrapper)
    for trainer in list(_methods):
        if not (wrapper.makes_methods and trainer in _made):
            _register_wrapped(trainer, wrapper)


def _know(section: str, defaults: dict[str, Any], owner: type) -> None:
    """A section of a trainer or wrapper; the words and numbers of those in this folder are judged."""
    SECTIONS[section] = defaults
    if owner.__module__.startswith(f"{__package__}."):
        OURS.add(section)


def _register_wrapped(trainer: Any, wrapper: Wrapper) -> None:
    if not wrapper.takes(trainer):
        return
    namespace = {"__doc__": wrapper.doc.format(trainer.__name__), "__module__": trainer.__module__}
    made = type(wrapper.prefix + trainer.__name__, (wrapper.mixin, trainer), namespace)
    TRAINER_REGISTRY.register()(made)
    if wrapper.makes_methods:
        _methods.append(made)
        _made.append(made)
        for other in WRAPPERS:
            if not other.makes_methods:
                _register_wrapped(made, other)


def extend_cfg(cfg: CfgNode) -> None:
    """Add what the registered trainers and data sets read to a default config, in place."""
    for section, defaults in SECTIONS.items():
        cfg.TRAINER[section] = CfgNode(dict(defaults))
    cfg.TEST.SAVE_PREDICTIONS = False  # predictions.csv: the answer to each image of the test
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"
    for key, value in TRAIN.items():
        cfg.TRAIN[key] = value
    cfg.DATASET.TEMPLATE = ""  # for zero-shot CLIP and the teacher; empty: the data set's own
    cfg.DATASET.TEXTS = ""  # JSON {class: [texts]}, averaged: instead of templates, for these and for references
    cfg.DATASET.FOLDER = CfgNode(dict(FOLDER))
    cfg.TRAINER.RECORD = CfgNode({"PROTOCOL": "", "CONFIG": ""})  # what result.json calls the run
    cfg.TRAINER.RECORD.VALIDATE = False  # test on the validation images too, and note that in result.json
