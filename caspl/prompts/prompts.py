"""What a method puts into CLIP, how boosting tokens join it, and how all of it is written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch

from caspl.errors import CasPLError
from caspl.prompts.describe import describe_piece, piece_of, segments_of
from caspl.prompts.segment import AnySegment, by_name
from caspl.prompts.sets import AnyTexts, TextEnsemble, TextSets
from caspl.prompts.templates import checked
from caspl.prompts.text import Piece, TextCascade, fixed, segment_of
from caspl.prompts.vision import VisionCascade
from caspl.towers.tokenizer import encode

T = TypeVar("T", bound="Texts")

PLACES = ("before", "nearest", "after")


@dataclass(frozen=True)
class Texts:
    """One text a class: what stands around the class name.

    Args:
        before, after: pieces in front of and behind the class name.
        templates: fixed words around all of it, with ``{}`` for the class name; the features of several are averaged.
        nearest: pieces directly before the class name, behind the words of the template; boosting goes there.
        heads: segments without tokens that change the features of the texts (:mod:`caspl.prompts.beside`).
    """

    before: Sequence[Piece] = ()
    after: Sequence[Piece] = ()
    templates: tuple[str, ...] = ("{}.",)
    nearest: Sequence[Piece] = ()
    heads: Sequence[AnySegment] = ()

    def __post_init__(self) -> None:
        if isinstance(self.templates, str):
            raise TypeError(f"templates are a tuple of texts, not the text {self.templates!r}")
        for template in self.templates:
            checked(template)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """All of them, in order."""
        return (*self.before, *self.nearest, *self.after)

    @property
    def segments(self) -> list[AnySegment]:
        """Those of the texts, some perhaps several times."""
        return [*filter(None, map(segment_of, self.pieces)), *self.heads]

    def texts(self) -> list[TextCascade]:
        """A cascade for every template."""
        return [self._text(template) for template in self.templates]

    def describe_texts(self) -> dict[str, Any]:
        """What stands around the class name as plain JSON; segments by name."""
        pieces = {place: [describe_piece(piece) for piece in getattr(self, place)] for place in PLACES}
        heads = {"heads": [head.name for head in self.heads]} if self.heads else {}
        return {**pieces, "templates": list(self.templates), **heads}

    @staticmethod
    def texts_of(said: Mapping[str, Any], segments: Mapping[str, AnySegment]) -> Texts:
        """The texts that :meth:`describe_texts` described, of these segments."""
        places = {place: [piece_of(one, segments) for one in said[place]] for place in PLACES}
        heads = [segments[name] for name in said.get("heads", ())]
        return Texts(**places, templates=tuple(map(str, said["templates"])), heads=heads)

    def _text(self, template: str) -> TextCascade:
        head, tail = template.split("{}")
        return TextCascade([*self.before, *fixed(encode(head)), *self.nearest], self.after, tail, self.heads)


@dataclass(frozen=True)
class Prompts(Texts):
    """What a method puts around the class names and after the patches.

    Args:
        before, after, templates, nearest, heads: see :class:`Texts`; the texts by which images are classified.
        vision: segments of the image tower.
        others: further sets of texts by name, with segments of their own, e.g. ``negative``.
        combine: what becomes of several sets: ``stack`` keeps them apart (see :class:`caspl.model.Output`), ``mean``
            averages the normalised features of all their texts. ``given`` says that another model gives the features
            of classes (:class:`caspl.prompts.given.GivenTexts`), and that these texts are none.
    """

    vision: Sequence[AnySegment] = ()
    others: Mapping[str, Texts] = field(default_factory=dict)
    combine: str = "stack"

    def __post_init__(self) -> None:
        super().__post_init__()
        if "class" in self.others:
            raise ValueError("a further set of texts cannot be called class: that is what these prompts are themselves")

    @property
    def sets(self) -> dict[str, Texts]:
        """All sets of texts by name; ``class`` is the first."""
        return {"class": self, **self.others}

    @property
    def trainable(self) -> bool:
        """Whether any of its segments learns."""
        segments = [*self._text_segments, *self.vision]
        return any(value.requires_grad for segment in segments for value in segment.parameters())

    @property
    def changes_norms(self) -> bool:
        """Whether norms stand in the place of the image tower's own, which then must not be folded away."""
        return any(segment.pairs for segment in self.vision)

    def behind(self, boosting: Prompts | None) -> Prompts:
        """The cascade: these prompts with boosting segments in CasPL's places.

        In text, boosting stands directly before the class name: after all tokens and words of the front, so that
        every other order of the method is kept. In vision it stands directly after the patches.
        """
        if boosting is None:
            return self
        tokens = (*boosting.before, *boosting.nearest)

        def boosted(texts: T) -> T:
            return replace(texts, nearest=(*texts.nearest, *tokens))

        others = {name: boosted(texts) for name, texts in self.others.items()}
        return replace(boosted(self), others=others, vision=(*boosting.vision, *self.vision))

    def cascade(self, boosting: Prompts | None = None) -> tuple[AnyTexts, VisionCascade]:
        """Both towers' cascades, behind boosting segments if there are any.

        Raises:
            ValueError: if two segments of a tower have one name.
        """
        return self.behind(boosting)._cascade()

    def _cascade(self) -> tuple[AnyTexts, VisionCascade]:
        if self.combine not in ("stack", "mean", "given"):
            raise ValueError(f"sets of texts are combined by stack or mean, or given, not {self.combine!r}")
        sets = {name: texts.texts() for name, texts in self.sets.items()}
        if self.combine == "mean":
            sets = {"class": [text for texts in sets.values() for text in texts]}
        made = {name: texts[0] if len(texts) == 1 else TextEnsemble(texts) for name, texts in sets.items()}
        return made["class"] if len(made) == 1 else TextSets(made), VisionCascade(self.vision)

    def describe(self) -> dict[str, Any]:
        """These prompts as plain JSON, without the values of tokens: see :mod:`caspl.prompts.describe`."""
        text = by_name(self._text_segments)
        segments = {"text": text, "vision": by_name(self.vision)}
        return {
            "texts": {name: texts.describe_texts() for name, texts in self.sets.items()},
            "combine": self.combine,
            "vision": [segment.name for segment in self.vision],
            "segments": {tower: {n: s.describe() for n, s in found.items()} for tower, found in segments.items()},
        }

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Prompts:
        """Prompts as :meth:`describe` wrote them down, with tokens on torch's ``meta`` device, yet without values.

        Raises:
            CasPLError: if the description is damaged, or names a kind of segment that is not known.
        """
        try:
            with torch.device("meta"):
                text = segments_of(description["segments"]["text"])
                vision = segments_of(description["segments"]["vision"], text)
            sets = {name: Texts.texts_of(said, text) for name, said in description["texts"].items()}
            first = sets.pop("class")
            ordered, combine = [vision[name] for name in description["vision"]], str(description["combine"])
            texts = (first.before, first.after, first.templates, first.nearest, first.heads)
            return cls(*texts, ordered, sets, combine)
        except CasPLError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
            raise CasPLError(
                f"the description of the prompts is damaged ({type(error).__name__}: {error}): take the file from its "
                "origin again"
            ) from error

    @property
    def _text_segments(self) -> list[AnySegment]:
        return [segment for texts in self.sets.values() for segment in texts.segments]
