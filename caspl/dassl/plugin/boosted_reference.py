"""The frozen reference of a self-regularising trainer (PromptSRC), boosted on request.

Plain, as in CasPL's release, it needs nothing. Boosted, its image tower gets the boosting tokens and its text
features become those of phase 1: the class name alone, behind the boosting tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from torch import nn

from caspl.boosting import BoostingFile
from caspl.dassl.plugin.kept import Kept, boosted_text, kept_features
from caspl.errors import CasPLError
from caspl.hooks.foreign import ForeignTower, find_towers
from caspl.hooks.insertion import Insertion, insert
from caspl.prompts import Segment
from caspl.towers import CLIP

logger = logging.getLogger(__name__)


def boost_reference(
    model: nn.Module, adapted: ForeignTower | None, clip: CLIP, file: BoostingFile, classnames: Sequence[str]
) -> tuple[list[Insertion], list[Kept]]:
    """Boost the reference inside a model.

    Args:
        model: of a trainer.
        adapted: its image tower that is adapted; the others are references.
        clip: the student.
        file: the boosting tokens, which are copied: the reference stays frozen.

    Returns:
        The tokens' places in its towers, and its text features that were replaced.

    Raises:
        CasPLError: if no reference is found, or no single tensor of its text features.
    """
    hooked = set() if adapted is None else {id(block) for block in adapted.blocks}
    others = [tower for tower in find_towers(model, "image") if not any(id(block) in hooked for block in tower.blocks)]
    shape = (len(classnames), clip.sizes.embed_dim)
    kept = [item for item in kept_features(model, shape) if not item.learned and not is_embedded(item, len(classnames))]
    if not kept or not others:
        raise CasPLError(
            f"TRAINER.CASPL.REFERENCE is boosted, but {type(model).__name__} has {len(others)} further image towers "
            f"and {len(kept)} tensors of shape {shape} or stacks of it: expected are a frozen image tower with blocks "
            "of its own beside the adapted one and the text features that go with it; leave it plain"
        )
    insertions = []
    if file.vision is not None:
        for tower in others:
            tokens = file.vision.to(tower.positional_embedding.device)
            insertions.append(insert(tower, Segment("boosting", tokens, trainable=False)))
    features = boosted_text(clip, file.text, classnames)
    for item in kept:
        item.replace([features] * len(item.texts()))
    logger.info(
        "the reference is boosted: %s",
        ", ".join([*map(str, others), *(name for item in kept for name in item.names)]),
    )
    return insertions, kept


def is_embedded(kept: Kept, classes: int) -> bool:
    """Whether a stack is embedded text that a prompt learner keeps: one a class, along the positions."""
    return kept.value.dim() == 3 and kept.classes == 0 and kept.value.shape[1] != classes
