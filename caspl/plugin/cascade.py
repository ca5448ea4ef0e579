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

from caspl.errors import CasPLError
from caspl.plugin.foreign import EXPECTED, ForeignTower, adapted_tower, find_towers
from caspl.plugin.insertion import Insertion, insert
from caspl.plugin.kept import boost_kept_text, kept_features
from caspl.plugin.names import class_start, require_room, token_ids
from caspl.plugin.reference import boost_reference
from caspl.plugin.section import boosting_file, check_options, dataset_template, load_student
from caspl.prompts import Segment
from caspl.towers import CLIP
from caspl.towers.weights import first_difference

logger = logging.getLogger(__name__)

PREFIX = "CasPL_"
STORED_AS = "caspl_boosting"


@dataclass(frozen=True)
class Hints:
    """What is not found out about a trainer, but said.

    Args:
        text_tower, image_tower: where they stand in its model, e.g. ``student.image_encoder``; empty: the outermost.
        class_start: position of the class name in its texts, counted from the start token, which is 0.
    """

    text_tower: str = ""
    image_tower: str = ""
    class_start: int | None = None


class BoostingTokens(nn.ModuleDict):
    """The boosting segments of both towers, a part of what the trainer saves and loads."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if not any(key.startswith(prefix) for key in state_dict):
            raise CasPLError(
                "this checkpoint holds no boosting tokens: it is of a run without the cascade, so evaluate or resume "
                f"it with the trainer itself, without {PREFIX}"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)


def cascaded(trainer: type, hints: Hints) -> type:
    """The class ``CasPL_<X>`` of a Dassl trainer X, not registered."""

    class Cascaded(trainer):
        def __init__(self, cfg: CfgNode) -> None:
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
            boost(self, hints)

    name = PREFIX + trainer.__name__
    Cascaded.__name__ = Cascaded.__qualname__ = name
    Cascaded.__doc__ = f"{trainer.__name__} cascaded behind frozen boosting tokens (CasPL, phase 2), by hooks."
    Cascaded.__module__ = trainer.__module__
    return Cascaded


def boost(trainer: Any, hints: Hints) -> None:
    """Put the boosting tokens of a data set into the model that a trainer has built.

    Args:
        trainer: a Dassl trainer after ``build_model``, with ``cfg`` and ``dm``.

    Raises:
        CasPLError: if the model is not understood, or if the tokens are not its student's.
    """
    cfg, name = trainer.cfg, type(trainer).__name__
    model = _model(trainer, name)
    text, image = adapted_tower(model, "text", hints.text_tower), adapted_tower(model, "image", hints.image_tower)
    clip, student_hash = load_student(cfg)
    for tower in (text, image):
        if tower is not None:
            _require_same_weights(tower, clip, cfg.MODEL.BACKBONE.NAME)
    classnames = list(trainer.dm.dataset.classnames)
    file = boosting_file(cfg, clip, student_hash, classnames)
    tokens = {kind: values for kind, values in (("text", file.text), ("vision", file.vision)) if values is not None}
    segments = {kind: Segment("boosting", values, cfg.TRAINER.CASPL.TRAINABLE) for kind, values in tokens.items()}
    insertions = []
    if "text" in segments:
        insertions += _boost_text(trainer, model, text, segments["text"], clip, hints)
    if "vision" in segments and image is not None:
        insertions.append(insert(image, segments["vision"]))
    _store(trainer, model, segments)
    model.register_forward_hook(_Watch(name, insertions))
    if cfg.TRAINER.CASPL.REFERENCE == "boosted":
        boost_reference(model, image, clip, file, classnames)


def _boost_text(
    trainer: Any, model: nn.Module, tower: ForeignTower | None, segment: Segment, clip: CLIP, hints: Hints
) -> list[Insertion]:
    """Let the tokens take part in the text: in the tower as it runs, or in features that were made once."""
    classnames, sizes = list(trainer.dm.dataset.classnames), clip.sizes
    classes = len(classnames)
    ids = token_ids(model, classes, sizes.context_length)
    if ids is not None:
        require_room(ids, classnames, segment.length)
    if tower is not None and (ids is not None or hints.class_start is not None):
        start = hints.class_start
        if start is None:
            assert ids is not None
            start = class_start(model, ids, classnames)
        return [insert(tower, segment, start)]
    unknown = (
        f"{type(model).__name__} holds no token ids of its {classes} classes, expected as tokenized_prompts of shape "
        f"({classes}, {sizes.context_length}), so that the place before the class name is unknown: give it with "
        "caspl.plugin.cascade(..., class_start=5), counted from the start token"
    )
    kept = kept_features(model, (classes, sizes.embed_dim), trainer)
    if len(kept) == 1:
        learns = bool(trainer.get_model_names())
        boost_kept_text(kept[0], clip, segment.values, classnames, dataset_template(trainer.cfg), learns)
        if tower is not None:
            tower.blocks[0].register_forward_pre_hook(partial(_refuse, unknown))
    elif tower is not None:
        raise CasPLError(unknown)
    else:
        logger.warning("%s has no text tower: the boosting tokens of the text stay out", type(model).__name__)
    return []


def _refuse(sentence: str, module: nn.Module, args: Any) -> None:
    """Forward pre-hook of what is not expected to run."""
    raise CasPLError(sentence)


def _model(trainer: Any, name: str) -> nn.Module:
    """``self.model``, or the one module of the trainer that holds a CLIP."""
    given = [trainer.model] if isinstance(vars(trainer).get("model"), nn.Module) else list(vars(trainer).values())
    modules = [item.module if isinstance(item, nn.DataParallel) else item for item in given]
    found = [item for item in modules if isinstance(item, nn.Module) and find_towers(item, "image")]
    if len(found) != 1:
        raise CasPLError(
            f"{name} holds {len(found)} modules with an image tower of a CLIP: expected is one, self.model, whose "
            f"towers have {EXPECTED['image']}, as OpenAI's; ResNet towers have no tokens"
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


def _store(trainer: Any, model: nn.Module, segments: dict[str, Segment]) -> None:
    """Make the tokens a part of what is saved, and let the optimizer have them if they train."""
    name = next(iter(trainer.get_model_names()), None)
    home = model if name is None else trainer._models[name]
    home = home.module if isinstance(home, nn.DataParallel) else home
    home.add_module(STORED_AS, BoostingTokens(segments).to(next(model.parameters()).device))
    trained = [value for segment in segments.values() for value in segment.parameters() if value.requires_grad]
    if name is not None and trained and trainer._optims[name] is not None:
        trainer._optims[name].param_groups[0]["params"] += trained


class _Watch:
    """Forward hook of a model: what never runs cannot be boosted, and would go unnoticed.

    Args:
        name: of the trainer.
        insertions: those that must have run.
    """

    def __init__(self, name: str, insertions: Sequence[Insertion]) -> None:
        self._name = name
        self._insertions = insertions

    def __call__(self, model: nn.Module, args: Any, output: Any) -> None:
        for insertion in self._insertions:
            if not insertion.ran:
                raise CasPLError(
                    f"{self._name} did not run {insertion.name} for its first batch: features that are made while the "
                    "trainer is built do not see the boosting tokens, so that it cannot be cascaded by hooks"
                )
