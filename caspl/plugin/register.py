"""The plug-in's three calls."""

from __future__ import annotations

import logging

from yacs.config import CfgNode

from caspl.plugin.boosting import CasPL
from caspl.plugin.cascade import PREFIX, Hints, cascaded
from caspl.plugin.section import DEFAULTS
from caspl.plugin.speech import speak
from dassl.engine import TRAINER_REGISTRY

logger = logging.getLogger(__name__)


def extend_cfg(cfg: CfgNode) -> None:
    """Add the section ``TRAINER.CASPL`` to a config, and register ``CasPL`` and every ``CasPL_<X>``.

    Call it after the trainers are imported and before files are merged. Wrong input then ends the program with one
    sentence instead of a traceback, and what the plug-in says goes to stdout, where Dassl logs it.

    Args:
        cfg: a default config, extended in place; a section that is there stays.
    """
    if "CASPL" not in cfg.TRAINER:
        cfg.TRAINER.CASPL = CfgNode(dict(DEFAULTS))
    if CasPL.__name__ not in TRAINER_REGISTRY.registered_names():
        TRAINER_REGISTRY.register()(CasPL)
    register_cascades()
    speak()


def register_cascades() -> list[str]:
    """Register ``CasPL_<X>`` for every registered trainer X that has none, but Dassl's own.

    A trainer class with ``cascades = False`` declines.

    Returns:
        The new names.
    """
    names = TRAINER_REGISTRY.registered_names()
    new = []
    for name in names:
        trainer = TRAINER_REGISTRY.get(name)
        declined = name.startswith("CasPL") or not getattr(trainer, "cascades", True)
        if declined or PREFIX + name in names or trainer.__module__.split(".")[0] == "dassl":
            continue
        cascade(trainer)
        new.append(PREFIX + name)
    return new


def cascade(trainer: type, *, text_tower: str = "", image_tower: str = "", class_start: int | None = None) -> type:
    """Register and return ``CasPL_<X>`` of one Dassl trainer X.

    Args:
        trainer: X, a subclass of ``TrainerX``. After its ``build_model``, ``self.model`` holds the CLIP.
        text_tower, image_tower: names within ``self.model`` of the towers that are adapted, where they are not the
            outermost, e.g. ``student.image_encoder``.
        class_start: position of the class name in the texts, the start token being 0, where they are not to be found
            as ``tokenized_prompts``.
    """
    made = cascaded(trainer, Hints(text_tower, image_tower, class_start))
    TRAINER_REGISTRY.register(made, force=True)
    return made
