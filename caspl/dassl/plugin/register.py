"""The plug-in's three calls."""

from __future__ import annotations

import logging

from yacs.config import CfgNode

from caspl.dassl.plugin.cascade import Hints, cascaded
from caspl.dassl.plugin.own_name import OWN, by_phase
from caspl.dassl.plugin.phase1_trainer import CasPL
from caspl.dassl.plugin.speech import speak
from caspl.dassl.section import BOOSTED_PREFIX, DEFAULTS
from caspl.dassl.stepping import TRAIN
from caspl.errors import CasPLError
from dassl.engine import TRAINER_REGISTRY

logger = logging.getLogger(__name__)


def extend_cfg(cfg: CfgNode) -> None:
    """Add the section ``TRAINER.CASPL`` to a config, and register ``CasPL`` and every ``CasPL_<X>``.

    Call it after the trainers are imported and before files are merged. Wrong input then ends the program with one
    sentence instead of a traceback, and what the plug-in says goes to stdout, where Dassl logs it.

    Args:
        cfg: a default config, extended in place; keys that are there stay.

    Raises:
        CasPLError: if a key that is there is of another type than ours.
    """
    speak()
    if "CASPL" not in cfg.TRAINER:
        cfg.TRAINER.CASPL = CfgNode()
    for key, value in (DEFAULTS | OWN).items():
        found = cfg.TRAINER.CASPL.setdefault(key, value)
        if type(found) is not type(value):
            raise CasPLError(
                f"this code base's own config has TRAINER.CASPL.{key} = {found!r} ({type(found).__name__}), a key that "
                f"the plug-in reads as {type(value).__name__}, like {value!r}: change it there"
            )
    for key, value in TRAIN.items():  # of phase 1's steps
        cfg.TRAIN.setdefault(key, value)
    if CasPL.__name__ not in TRAINER_REGISTRY.registered_names():
        TRAINER_REGISTRY.register(CasPL)
    elif TRAINER_REGISTRY.get(CasPL.__name__) is not CasPL:
        logger.warning("a trainer CasPL is registered already: it stays what phase 1 is here")
    new = register_cascades()
    _answer_to_phases()
    if new:
        logger.info("registered: %s", ", ".join(new))
    elif not any(name.startswith(BOOSTED_PREFIX) for name in TRAINER_REGISTRY.registered_names()):
        logger.warning("there are no trainers to cascade: import yours before caspl.plugin.extend_cfg(cfg) is called")


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
        if declined or BOOSTED_PREFIX + name in names or trainer.__module__.split(".")[0] == "dassl":
            continue
        new.append(cascade(trainer).__name__)
    return new


def _answer_to_phases() -> None:
    """Let every trainer but Dassl's own be switched by ``TRAINER.CASPL.PHASE``."""
    names = TRAINER_REGISTRY.registered_names()
    for name in names:
        trainer = TRAINER_REGISTRY.get(name)
        ours = name.startswith("CasPL") or trainer.__module__.split(".")[0] in ("caspl", "dassl")
        made = TRAINER_REGISTRY.get(BOOSTED_PREFIX + name) if BOOSTED_PREFIX + name in names else None
        by_others = made is not None and getattr(made, "cascade_of", None) is not trainer
        if not (ours or by_others or "caspl_own" in vars(trainer)):
            TRAINER_REGISTRY.register(by_phase(trainer), force=True)


def cascade(
    trainer: type,
    *,
    text_tower: str = "",
    image_tower: str = "",
    class_start: int | None = None,
    text: bool = True,
    check: bool = True,
) -> type:
    """Register and return ``CasPL_<X>`` of one Dassl trainer X; :func:`extend_cfg` is needed all the same.

    Args:
        trainer: X, a subclass of ``TrainerX``. After its ``build_model``, ``self.model`` holds the CLIP.
        text_tower, image_tower: names within ``self.model`` of the towers that are adapted, where they are not the
            outermost, e.g. ``student.image_encoder``.
        class_start: position of the class name in the texts, the start token being 0, where they are not to be found
            as ``tokenized_prompts``.
        text: False leaves the texts plain and boosts the image tower alone.
        check: False leaves out the self-check at the first batch.
    """
    trainer = vars(trainer).get("caspl_own", trainer)
    made = cascaded(trainer, Hints(text_tower, image_tower, class_start, text, check))
    TRAINER_REGISTRY.register(made, force=True)
    return made
