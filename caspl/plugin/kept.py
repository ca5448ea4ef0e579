"""Text features that a trainer makes once, while it is built, and keeps: those of its boosted form take their place.

VPT and zero-shot CLIP run no text tower later, and PromptSRC's reference has none. Hooks cannot reach such features,
so that they are computed anew, by this library's towers with the same weights, behind the boosting tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.errors import CasPLError
from caspl.model import PromptedCLIP
from caspl.prompts import Prompts, Segment
from caspl.templates import DEFAULT_TEMPLATE, SELECTED
from caspl.towers import CLIP

ALONE = ("{}.",)  # the class name without words, as in phase 1
SAME = 0.999  # cosine of features that differ by half precision alone


@dataclass(frozen=True, eq=False)
class Kept:
    """A tensor (classes, embed_dim) that is a plain attribute of some object."""

    owner: Any
    name: str
    value: Tensor

    def replace(self, features: Tensor) -> None:
        """Put others in its place, on its device and in its precision."""
        setattr(self.owner, self.name, features.to(self.value))


def kept_features(model: nn.Module, shape: tuple[int, int], *more: object) -> list[Kept]:
    """What the modules of a model, plain objects in them and ``more`` keep in this shape."""
    return [
        Kept(owner, name, value)
        for owner in (*_owners(model), *more)
        for name, value in vars(owner).items()
        if isinstance(value, Tensor) and value.is_floating_point() and tuple(value.shape) == shape
    ]


@torch.no_grad()
def boosted_text(
    clip: CLIP, tokens: Tensor | None, classnames: Sequence[str], templates: tuple[str, ...] = ALONE
) -> Tensor:
    """Normalised features (classes, embed_dim) of texts with boosting tokens directly before the class name.

    Args:
        clip: the student.
        tokens: (depth, length, width) of the text tower; None for plain features.
        templates: several make an ensemble.
    """
    before = [] if tokens is None else [Segment("boosting", tokens, trainable=False)]
    cascades = Prompts(templates=templates).cascade(Prompts(before=before))
    return PromptedCLIP(clip, *cascades, classnames).encode_text()


def boost_kept_text(kept: Kept, clip: CLIP, tokens: Tensor, classnames: Sequence[str], own: str, learns: bool) -> None:
    """Replace the text features of a trainer by those behind boosting tokens, in the same words.

    Args:
        kept: its features, which tell the words.
        own: template of the data set.
        learns: whether the trainer learns anything. If not, it is zero-shot, and boosting stands alone, but for
            ensembles (:mod:`trainers.zeroshot` does the same).

    Raises:
        CasPLError: if the features are of none of the published templates.
    """
    there = F.normalize(kept.value.detach().to("cpu", torch.float32), dim=-1)
    for templates in ((own,), (DEFAULT_TEMPLATE,), (*SELECTED, own), SELECTED):
        plain = boosted_text(clip, None, classnames, templates)
        if (plain * there).sum(-1).min() > SAME:
            words = templates if learns or len(templates) > 1 else ALONE
            kept.replace(boosted_text(clip, tokens, classnames, words))
            return
    raise CasPLError(
        f"the text features {type(kept.owner).__name__}.{kept.name} are made once, of words that are not known: "
        f"expected are those of {DEFAULT_TEMPLATE!r}, {own!r} or CLIP's seven selected templates"
    )


def _owners(model: nn.Module) -> Iterator[Any]:
    for module in model.modules():
        yield module
        for value in vars(module).values():
            if hasattr(value, "__dict__") and not isinstance(value, nn.Module | Tensor | type):
                yield value
