"""What a method puts into CLIP, and how boosting tokens join it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from caspl.prompts.ensemble import TextEnsemble
from caspl.prompts.segment import AnySegment
from caspl.prompts.text import Piece, TextCascade, fixed, segment_of
from caspl.prompts.vision import VisionCascade
from caspl.towers.tokenizer import encode


@dataclass(frozen=True)
class Prompts:
    """What a method puts around the class name and after the patches.

    Args:
        before, after: text pieces in front of and behind the class name.
        vision: segments of the image tower.
        templates: fixed words around all of it, with ``{}`` for the class name; several make an ensemble.
    """

    before: Sequence[Piece] = ()
    after: Sequence[Piece] = ()
    vision: Sequence[AnySegment] = ()
    templates: tuple[str, ...] = ("{}.",)

    @property
    def trainable(self) -> bool:
        """Whether any of its segments learns."""
        text = filter(None, map(segment_of, (*self.before, *self.after)))
        return any(value.requires_grad for segment in (*text, *self.vision) for value in segment.parameters())

    def cascade(self, boosting: Prompts | None = None) -> tuple[TextCascade | TextEnsemble, VisionCascade]:
        """Both towers' cascades, with the boosting segments in CasPL's places.

        In text, boosting stands directly before the class name: after all tokens and words of the front, so that
        every other order of the method is kept. In vision it stands directly after the patches.
        """
        boosting = boosting or Prompts()
        texts = [self._text(template, boosting) for template in self.templates]
        vision = VisionCascade([*boosting.vision, *self.vision])
        return texts[0] if len(texts) == 1 else TextEnsemble(texts), vision

    def _text(self, template: str, boosting: Prompts) -> TextCascade:
        head, tail = template.split("{}")
        return TextCascade([*self.before, *fixed(encode(head)), *boosting.before], self.after, tail)
