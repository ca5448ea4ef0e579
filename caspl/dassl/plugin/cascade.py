"""``CasPL_<X>`` for a trainer X that somebody else wrote: X, built as it is, and then boosted.

Nothing of X is changed or copied. The class made here inherits from X and adds one step to its ``build_model``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn
from yacs.config import CfgNode

from caspl.dassl.blame import refused
from caspl.dassl.plugin.boosted_reference import boost_reference
from caspl.dassl.plugin.selfcheck import check
from caspl.dassl.plugin.stored import store
from caspl.dassl.plugin.texts import boost_text
from caspl.dassl.section import BOOSTED_PREFIX, boosting_file, check_options, require_labels, require_validation
from caspl.dassl.student import load_student
from caspl.errors import CasPLError
from caspl.hooks.foreign import EXPECTED, ForeignTower, adapted_tower, every_path, find_towers, unwrapped
from caspl.hooks.insertion import Insertion, insert
from caspl.prompts import Segment
from caspl.towers import CLIP
from caspl.towers.weights import first_difference

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hints:
    """What is not found out about a trainer, but said.

    Args:
        text_tower, image_tower: where they stand in its model, e.g. ``student.image_encoder``; empty: the outermost.
        class_start: position of the class name in its texts, counted from the start token, which is 0.
        text: whether its texts are boosted at all.
        check: whether the first batch is checked.
    """

    text_tower: str = ""
    image_tower: str = ""
    class_start: int | None = None
    text: bool = True
    check: bool = True


def cascaded(trainer: type, hints: Hints) -> type:
    """The class ``CasPL_<X>`` of a Dassl trainer X, not registered."""

    class Cascaded(trainer):
        def __init__(self, cfg: CfgNode) -> None:
            if "CASPL" not in cfg.TRAINER:
                raise CasPLError("there is no section TRAINER.CASPL: call caspl.plugin.extend_cfg(cfg) in train.py")
            cfg = cfg.clone()
            cfg.defrost()
            cfg.TRAINER.NAME = trainer.__name__  # data sets and models of some code bases ask for the name
            cfg.freeze()
            super().__init__(cfg)

        def check_cfg(self, cfg: CfgNode) -> None:
            super().check_cfg(cfg)
            check_options(cfg)

        def build_model(self) -> None:
            super().build_model()
            self._caspl_insertions = boost(self, hints)

        def before_train(self) -> None:
            require_validation(self)
            super().before_train()

        def resume_model_if_exist(self, directory: str) -> Any:
            with refused(f"the run in {self.output_dir} cannot be continued ({{}}); use another OUTPUT_DIR"):
                return super().resume_model_if_exist(directory)

        def forward_backward(self, *args: Any, **kwargs: Any) -> Any:
            batch = args[0] if args else None
            images = batch.get("img") if isinstance(batch, dict) else None
            if images is not None:
                self._caspl_check(images)
            summary = super().forward_backward(*args, **kwargs)
            require_use(type(self).__name__, self._caspl_insertions)
            return summary

        def model_inference(self, *args: Any, **kwargs: Any) -> Any:
            if args:
                self._caspl_check(args[0])
            return super().model_inference(*args, **kwargs)

        def _caspl_check(self, images: Any) -> None:
            """Once, at the first batch, trained or tested on."""
            if getattr(self, "_caspl_checked", not hints.check):
                return
            self._caspl_checked = True
            images = images[0] if isinstance(images, list | tuple) else images  # the first of several views
            kept = vars(self).get("_caspl_kept", [])
            name, model = type(self).__name__, self._caspl_model
            infer = partial(super().model_inference, images.to(self.device))
            check(name, model, self._caspl_insertions, kept, infer)

        def test(self, *args: Any, **kwargs: Any) -> Any:
            result = super().test(*args, **kwargs)
            require_use(type(self).__name__, self._caspl_insertions)
            return result

    Cascaded.__name__ = Cascaded.__qualname__ = BOOSTED_PREFIX + trainer.__name__
    Cascaded.__doc__ = f"{trainer.__name__} cascaded behind frozen boosting tokens (CasPL, phase 2), by hooks."
    Cascaded.__module__ = trainer.__module__
    return Cascaded


def boost(trainer: Any, hints: Hints) -> list[Insertion]:
    """Put the boosting tokens of a data set into the model that a trainer has built.

    Args:
        trainer: a Dassl trainer after ``build_model``, with ``cfg`` and ``dm``.

    Returns:
        The places where tokens go while the model runs.

    Raises:
        CasPLError: if the model is not understood, or if the tokens are not its student's.
    """
    cfg = trainer.cfg
    model = trainer._caspl_model = _model(trainer)
    text, image = adapted_tower(model, "text", hints.text_tower), adapted_tower(model, "image", hints.image_tower)
    clip, student_hash = load_student(cfg)
    for tower in (text, image):
        if tower is not None:
            _require_same_weights(tower, clip, cfg.MODEL.BACKBONE.NAME)
    require_labels(trainer.dm.dataset)
    classnames = list(trainer.dm.dataset.classnames)
    file = boosting_file(cfg, clip, student_hash, trainer.dm.dataset)
    tokens = {kind: values for kind, values in (("text", file.text), ("vision", file.vision)) if values is not None}
    segments = {kind: Segment("boosting", values, cfg.TRAINER.CASPL.TRAINABLE) for kind, values in tokens.items()}
    stored = store(trainer, model, segments)
    insertions = []
    if "vision" in segments and image is not None:
        insertions.append(insert(image, segments["vision"]))
    if "text" in segments and hints.text:
        insertion = boost_text(trainer, model, text, stored, clip, hints.class_start)
        insertions += [] if insertion is None else [insertion]
    _tell(trainer, model, insertions)
    if cfg.TRAINER.CASPL.REFERENCE == "boosted":
        boost_reference(model, image, clip, file, classnames)
    return insertions


def require_use(name: str, insertions: Sequence[Insertion]) -> None:
    """Refuse a trainer that has not run a tower: what is not run cannot be boosted, and would go unnoticed.

    Args:
        name: of the trainer, after a whole batch.
        insertions: those that must have run.
    """
    for insertion in insertions:
        if not insertion.ran:
            raise CasPLError(
                f"{name} did not run {insertion.name} for its first batch, but another tower, or features that it made "
                f"before: they do not see the boosting tokens; if another tower runs, say which with "
                f"caspl.plugin.cascade(..., {insertion.kind}_tower=...), else it cannot be cascaded by hooks"
            )


def _model(trainer: Any) -> nn.Module:
    """``self.model``, or the one module of the trainer that holds a CLIP."""
    name = type(trainer).__name__
    given = [trainer.model] if isinstance(vars(trainer).get("model"), nn.Module) else list(vars(trainer).values())
    modules = {id(item): item for item in map(unwrapped, given) if isinstance(item, nn.Module)}
    found = [item for item in modules.values() if find_towers(item, "image")]
    if not found:
        raise CasPLError(
            f"{name} holds no image tower of a CLIP: expected is self.model with a module that has "
            f"{EXPECTED['image']}, as OpenAI's"
            + ("; ResNet towers have no tokens" if "RN" in trainer.cfg.MODEL.BACKBONE.NAME.upper() else "")
        )
    if len(found) > 1:
        raise CasPLError(
            f"{name} holds {len(found)} CLIPs ({', '.join(type(item).__name__ for item in found)}): expected is one, "
            "as self.model"
        )
    return found[0]


def _require_same_weights(tower: ForeignTower, clip: CLIP, student: str) -> None:
    found, expected = tower.weights(), clip.openai_state_dict()
    key = first_difference(found, expected)
    if key is not None or not found.keys() & expected.keys():
        raise CasPLError(
            f"{tower} does not have the weights of {student} ({key or 'every tensor'} differs): let "
            "MODEL.BACKBONE.NAME name its weights, or put the file they were read from into the folder $CASPL_WEIGHTS"
        )


def _tell(trainer: Any, model: nn.Module, insertions: Sequence[Insertion]) -> None:
    """Say which towers are boosted and which are left plain: references, teachers, copies."""
    boosted = {insertion.name for insertion in insertions}
    others = {id(item): item for item in map(unwrapped, vars(trainer).values()) if isinstance(item, nn.Module)}
    paths = [tower for item in (model, *others.values()) for kind in EXPECTED for tower in every_path(item, kind)]
    hooked = {id(block) for tower in paths if str(tower) in boosted for block in tower.blocks}
    shared: dict[str, None] = {}
    left: dict[str, None] = {}
    for tower in paths:
        if str(tower) not in boosted:
            running = any(id(block) in hooked for block in tower.blocks)
            (shared if running else left)[str(tower)] = None
    logger.info("boosted: %s; left plain: %s", ", ".join(sorted(boosted)) or "-", ", ".join(left) or "-")
    if shared:
        logger.info("boosted as well, since its blocks are the same: %s", ", ".join(shared))
