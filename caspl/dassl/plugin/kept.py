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

from caspl.hooks.foreign import find_towers
from caspl.model import PromptedCLIP
from caspl.prompts import Prompts, Segment
from caspl.prompts.templates import DEFAULT_TEMPLATE, SELECTED
from caspl.towers import CLIP

ALONE = ("{}.",)  # the class name without words, as in phase 1
SAME = 0.999  # cosine of features that differ by half precision alone


Words = list[tuple[str, ...]]
"""The templates of each text in a stack, one text for features that are no stack."""


@dataclass(eq=False)
class Kept:
    """Text features, (classes, embed_dim) or a stack of them, and all attributes, buffers and parameters that are it.

    Args:
        value: the tensor.
        classes: axis of the classes; the last axis is that of the features, what is left are texts of a class.
        learned: whether it is a parameter: learned from these features, perhaps, or from others.
    """

    value: Tensor
    classes: int
    learned: bool = False
    places: list[tuple[Any, str]] = field(default_factory=list)
    _written: Tensor | None = None

    @property
    def name(self) -> str:
        """Where it stands."""
        return self.names[0]

    @property
    def names(self) -> list[str]:
        """Everywhere that it stands."""
        return [f"{type(owner).__name__}.{name}" for owner, name in self.places]

    def texts(self) -> Tensor:
        """(texts, classes, embed_dim), as they are."""
        value = self.value.detach().movedim(self.classes, -2)
        return value.reshape(-1, *value.shape[-2:]).float()

    @torch.no_grad()
    def replace(self, features: Sequence[Tensor]) -> None:
        """Put others in its place, on its device and in its precision; its rows keep their norms.

        A parameter that is no longer what was put there has been trained, or read from a checkpoint: it stays.

        Args:
            features: normalised, (classes, embed_dim), one for each text.
        """
        now = getattr(*self.places[0])
        if self.learned and self._written is not None and not torch.equal(now, self._written):
            return
        made = torch.stack(list(features)).float().to(self.value.device)
        made = F.normalize(made, dim=-1) * self.texts().norm(dim=-1, keepdim=True)
        shape = self.value.detach().movedim(self.classes, -2).shape
        made = made.reshape(shape).movedim(-2, self.classes).to(self.value)
        self._written = made.clone() if self.learned else None
        for owner, name in self.places:
            if self.learned:
                getattr(owner, name).copy_(made)
            else:
                setattr(owner, name, made)


def kept_features(model: nn.Module, shape: tuple[int, int], *more: object) -> list[Kept]:
    """What the modules of a model, plain objects in them and ``more`` keep in this shape, each tensor once.

    Args:
        shape: (classes, embed_dim). Stacks of it, (..., classes, embed_dim) and (classes, texts, embed_dim), as well;
            the weights of the towers are passed over.
    """
    found: dict[int, Kept] = {}
    towers = {
        id(value)
        for kind in ("text", "image")
        for tower in find_towers(model, kind)
        for value in tower.module.parameters()
    }
    for owner in {id(owner): owner for owner in (*_owners(model), *more)}.values():
        for name, value in (
            *vars(owner).items(),
            *getattr(owner, "_buffers", {}).items(),
            *getattr(owner, "_parameters", {}).items(),
        ):
            if not isinstance(value, Tensor) or not value.is_floating_point() or id(value) in towers:
                continue
            axis = _classes_axis(tuple(value.shape), shape)
            if axis is not None:
                learned = isinstance(value, nn.Parameter)
                found.setdefault(value.data_ptr(), Kept(value, axis, learned)).places.append((owner, name))
    return list(found.values())


def _classes_axis(found: tuple[int, ...], shape: tuple[int, int]) -> int | None:
    if found[-2:] == shape:
        return len(found) - 2
    return 0 if len(found) == 3 and (found[0], found[2]) == shape else None


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


class KnownWords:
    """The words that text features may be of, and those features themselves.

    Args:
        plain: unboosted features, (classes, embed_dim), of each set of templates.
        own: template of the data set.
        alone: whether boosting stands without words: a trainer that learns nothing is zero-shot, but for ensembles, as
            with our own zero-shot trainers.
    """

    def __init__(self, plain: dict[tuple[str, ...], Tensor], own: str, alone: bool) -> None:
        self._plain, self._own, self._alone = plain, own, alone

    def of(self, kept: Kept) -> Words | None:
        """The templates of each of its texts; None if one is of none of the known ones."""
        words = []
        for text in kept.texts():
            there = F.normalize(text, dim=-1)
            fits = (
                templates
                for templates, plain in self._plain.items()
                if (plain * there.to(plain.device)).sum(-1).min() > SAME
            )
            templates = next(fits, None)
            if templates is None:
                return None
            words.append(ALONE if self._alone and len(templates) == 1 else templates)
        return words

    def unknown(self, kept: Kept) -> str:
        """What to say of features of other words."""
        return (
            f"the text features {kept.name} are made once, of words that are not known: expected are those of "
            f"{DEFAULT_TEMPLATE!r}, {self._own!r} or CLIP's seven selected templates; leave the text plain with "
            "caspl.plugin.cascade(..., text=False)"
        )


def known_words(clip: CLIP, classnames: Sequence[str], own: str, learns: bool) -> KnownWords:
    """The features of all published words, for :class:`KnownWords`.

    Args:
        own: template of the data set.
        learns: whether the trainer learns anything.
    """
    sets: list[tuple[str, ...]] = [(own,), (DEFAULT_TEMPLATE,), (*SELECTED, own), SELECTED]
    sets += [(template,) for template in SELECTED]
    return KnownWords(
        {templates: boosted_text(clip, None, classnames, templates) for templates in dict.fromkeys(sets)},
        own,
        not learns,
    )


def _owners(model: nn.Module) -> Iterator[Any]:
    for module in model.modules():
        yield module
        for value in vars(module).values():
            if hasattr(value, "__dict__") and not isinstance(value, nn.Module | Tensor | type):
                yield value
