"""Boosting tokens in a foreign trainer's texts: in the text tower as it runs, or in features that were made once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import nn
from yacs.config import CfgNode

from caspl.dassl.plugin.calls import Calls
from caspl.dassl.plugin.kept import Kept, Words, boosted_text, kept_features, known_words
from caspl.dassl.plugin.names import USUAL_NAME, find_ids, find_start, require_room
from caspl.dassl.plugin.stored import BoostingTokens
from caspl.dassl.section import dataset_template
from caspl.dassl.student import load_student
from caspl.errors import CasPLError
from caspl.hooks.foreign import ForeignTower
from caspl.hooks.insertion import Insertion, insert
from caspl.prompts import Segment
from caspl.towers import CLIP

logger = logging.getLogger(__name__)


def boost_text(
    trainer: Any,
    model: nn.Module,
    tower: ForeignTower | None,
    stored: BoostingTokens,
    clip: CLIP,
    class_start: int | None,
) -> tuple[Insertion | None, list[Kept]]:
    """Boost the texts of a trainer.

    Args:
        trainer: a Dassl trainer after ``build_model``.
        model: its model.
        tower: the text tower in it, if there is one.
        stored: the boosting tokens, ``text`` among them.
        clip: the student.
        class_start: where the class name begins, if it is said.

    Returns:
        The tokens' place in the tower, None where no tower runs; features made once that were replaced instead.

    Raises:
        CasPLError: if the place is not found, or too far behind.
    """
    classnames, positions = list(trainer.dm.dataset.classnames), clip.sizes.context_length
    segment: Segment = stored["text"]  # type: ignore[assignment]
    ids = find_ids(model, len(classnames), positions)
    if tower is None or (not ids and class_start is None):
        kept = _boost_kept(trainer, model, tower, stored, clip.to(segment.values.device))
        if kept or tower is None:
            return None, kept
    for some in ids:
        require_room(some, classnames, segment.length)
    start = class_start
    if start is None:  # where the texts differ, each call says it
        starts = {find_start(model, [some], classnames) for some in ids}
        start = starts.pop() if len(starts) == 1 else None
    if start is not None and not 1 <= start < positions - segment.length:
        raise CasPLError(
            f"the class name cannot begin at position {start} (class_start): expected is 1 to "
            f"{positions - segment.length - 1}, behind the start token and with room for {segment.length} tokens"
        )
    padding = None if ids else clip.text.token_embedding.weight[0].detach().clone()
    insertion = insert(tower, segment, start, padding)
    if class_start is None:
        insertion.unknown = "" if ids else _no_ids(model, len(classnames), positions)
        Calls(model, ids, classnames, insertion, positions).watch(tower)
    return insertion, []


def _no_ids(model: nn.Module, classes: int, positions: int) -> str:
    return (
        f"{type(model).__name__} holds no token ids of its {classes} classes, expected as {USUAL_NAME} of shape "
        f"({classes}, {positions}), and passes none to its text tower, so that the place before the class name is "
        "unknown: give it with caspl.plugin.cascade(..., class_start=5), counted from the start token, or leave the "
        "text plain with text=False"
    )


def _boost_kept(
    trainer: Any, model: nn.Module, tower: ForeignTower | None, stored: BoostingTokens, clip: CLIP
) -> list[Kept]:
    """Boost the text features that a trainer has made once, and again whenever a checkpoint brings other tokens.

    Returns:
        Those that there are.
    """
    classnames, segment = list(trainer.dm.dataset.classnames), stored["text"]
    kept = kept_features(model, (len(classnames), clip.sizes.embed_dim), trainer)
    if not kept:
        if tower is None:
            logger.warning("%s has no text at all: the boosting tokens of the text stay out", type(model).__name__)
        return []
    if any(value.requires_grad for value in segment.parameters()) and kept:
        raise CasPLError(
            f"TRAINER.CASPL.TRAINABLE is True, but {type(trainer).__name__} makes its text features ({kept[0].name}) "
            "once, so that the boosting tokens of the text cannot train; leave it False"
        )
    own, learns = dataset_template(trainer.cfg), bool(trainer.get_model_names())
    words = known_words(clip, classnames, own, learns)
    pairs = [(item, words.of(item)) for item in kept]
    told = [(item, found) for item, found in pairs if found is not None]
    for item, found in pairs:
        if found is None and not item.learned:
            raise CasPLError(words.unknown(item))
    if not told:  # parameters that are something else
        return []
    if tower is not None:
        unknown = _no_ids(model, len(classnames), clip.sizes.context_length)
        tower.blocks[0].register_forward_pre_hook(partial(_refuse, unknown))
    refresh = partial(_replace, told, trainer.cfg, classnames)
    refresh(segment, clip=clip)
    logger.info("text features made once, now boosted: %s", ", ".join(name for item, _ in told for name in item.names))
    stored.register_load_state_dict_post_hook(lambda tokens, keys: refresh(tokens["text"]))
    return [item for item, _ in told]


def _replace(
    kept: Sequence[tuple[Kept, Words]],
    cfg: CfgNode,
    classnames: Sequence[str],
    segment: Any,
    clip: CLIP | None = None,
) -> None:
    clip = load_student(cfg)[0].to(segment.values.device) if clip is None else clip
    for item, words in kept:
        item.replace([boosted_text(clip, segment.values, classnames, templates) for templates in words])


def _refuse(sentence: str, module: nn.Module, args: Any) -> None:
    """Forward pre-hook of what is not expected to run."""
    raise CasPLError(sentence)
