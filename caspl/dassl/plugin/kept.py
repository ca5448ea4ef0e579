"""Text features that a trainer makes once, while it is built, and keeps: those of its boosted form take their place.

VPT and zero-shot CLIP run no text tower later, and PromptSRC's reference has none. Hooks cannot reach such features,
so that they are computed anew, by this library's towers with the same weights, behind the boosting tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.errors import CasPLError
from caspl.model import PromptedCLIP
from caspl.prompts import Prompts, Segment
from caspl.prompts.templates import DEFAULT_TEMPLATE, SELECTED
from caspl.towers import CLIP

ALONE = ("{}.",)  # the class name without words, as in phase 1
SAME = 0.999  # cosine of features that differ by half precision alone


@dataclass(eq=False)
class Kept:
    """A tensor (classes, embed_dim), and all attributes and buffers that are this tensor."""

    value: Tensor
    places: list[tuple[Any, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Where it stands."""
        owner, name = self.places[0]
        return f"{type(owner).__name__}.{name}"

    def replace(self, features: Tensor) -> None:
        """Put others in its place, on its device and in its precision."""
        for owner, name in self.places:
            setattr(owner, name, features.to(self.value))


def kept_features(model: nn.Module, shape: tuple[int, int], *more: object) -> list[Kept]:
    """What the modules of a model, plain objects in them and ``more`` keep in this shape, each tensor once."""
    found: dict[int, Kept] = {}
    for owner in {id(owner): owner for owner in (*_owners(model), *more)}.values():
        for name, value in (*vars(owner).items(), *getattr(owner, "_buffers", {}).items()):
            if isinstance(value, Tensor) and value.is_floating_point() and tuple(value.shape) == shape:
                found.setdefault(value.data_ptr(), Kept(value)).places.append((owner, name))
    return list(found.values())


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
    device = clip.logit_scale.device
    before = [] if tokens is None else [Segment("boosting", tokens, trainable=False).to(device)]
    prompts = Prompts(templates=templates).behind(Prompts(before=before))
    return PromptedCLIP.of(clip, prompts, classnames).encode_text()


def words_of(kept: Kept, clip: CLIP, classnames: Sequence[str], own: str, learns: bool) -> tuple[str, ...]:
    """The templates that a trainer's text features are of, for use beside boosting tokens.

    Args:
        kept: plain features.
        own: template of the data set.
        learns: whether the trainer learns anything. If not, it is zero-shot, and boosting stands alone, but for
            ensembles, as with our own zero-shot trainers.

    Raises:
        CasPLError: if the features are of none of the published templates.
    """
    there = F.normalize(kept.value.detach().float(), dim=-1).to(clip.logit_scale.device)
    for templates in dict.fromkeys([(own,), (DEFAULT_TEMPLATE,), (*SELECTED, own), SELECTED]):
        if (boosted_text(clip, None, classnames, templates) * there).sum(-1).min() > SAME:
            return templates if learns or len(templates) > 1 else ALONE
    raise CasPLError(
        f"the text features {kept.name} are made once, of words that are not known: expected are those of "
        f"{DEFAULT_TEMPLATE!r}, {own!r} or CLIP's seven selected templates; leave the text plain with "
        "caspl.plugin.cascade(..., text=False)"
    )


def _owners(model: nn.Module) -> Iterator[Any]:
    for module in model.modules():
        yield module
        for value in vars(module).values():
            if hasattr(value, "__dict__") and not isinstance(value, nn.Module | Tensor | type):
                yield value
