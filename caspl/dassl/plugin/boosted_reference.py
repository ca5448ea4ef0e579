"""The frozen reference of a self-regularising trainer (PromptSRC), boosted on request.

Plain, as in CasPL's release, it needs nothing. Boosted, its image tower gets the boosting tokens and its text
features become those of phase 1: the class name alone, behind the boosting tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from caspl.boosting import BoostingFile
from caspl.dassl.plugin.foreign import ForeignTower, find_towers
from caspl.dassl.plugin.insertion import insert
from caspl.dassl.plugin.kept import boosted_text, kept_features
from caspl.errors import CasPLError
from caspl.prompts import Segment
from caspl.towers import CLIP


def boost_reference(
    model: nn.Module, adapted: ForeignTower | None, clip: CLIP, file: BoostingFile, classnames: Sequence[str]
) -> None:
    """Boost the reference inside a model.

    Args:
        model: of a trainer.
        adapted: its image tower that is adapted; the others are references.
        clip: the student.
        file: the boosting tokens, which are copied: the reference stays frozen.

    Raises:
        CasPLError: if no reference is found, or no single tensor of its text features.
    """
    others = [tower for tower in find_towers(model, "image") if adapted is None or tower.module is not adapted.module]
    shape = (len(classnames), clip.sizes.embed_dim)
    kept = kept_features(model, shape)
    if len(kept) != 1 or not others:
        raise CasPLError(
            f"TRAINER.CASPL.REFERENCE is boosted, but {type(model).__name__} has {len(others)} further image towers "
            f"and {len(kept)} tensors of shape {shape}: expected are a frozen image tower beside the adapted one and "
            "the text features that go with it; leave it plain"
        )
    if file.vision is not None:
        for tower in others:
            insert(tower, Segment("boosting", file.vision.to(tower.positional_embedding.device), trainable=False))
    kept[0].replace(boosted_text(clip, file.text, classnames))
