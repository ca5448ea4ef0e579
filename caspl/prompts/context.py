"""The contexts of the published methods, as segments and words around the class name."""

from __future__ import annotations

from dataclasses import dataclass, field

from caspl.errors import CasPLError
from caspl.prompts.initial import normal_tokens, word_tokens
from caspl.prompts.segment import Segment
from caspl.prompts.text import Part, Piece, TextCascade, Words
from caspl.prompts.vision import VisionCascade
from caspl.towers import CLIP
from caspl.towers.text import TextTower
from caspl.towers.tokenizer import encode

POSITIONS = ("end", "middle", "front")
MOST_WORDS = 4  # IVLP and its heirs start from words only up to this length


@dataclass(frozen=True)
class Prompts:
    """What a method puts around the class name and after the patches.

    Args:
        before, after: text pieces in front of and behind the class name.
        vision: segments of the image tower.
        template: what is tokenised for a class; anything but ``{}.`` is for methods without text tokens.
    """

    before: list[Piece] = field(default_factory=list)
    after: list[Piece] = field(default_factory=list)
    vision: list[Segment] = field(default_factory=list)
    template: str = "{}."

    def cascade(self, boosting: Prompts | None = None) -> tuple[TextCascade, VisionCascade]:
        """Both towers' cascades, with the boosting segments in CasPL's places.

        In text, boosting stands directly before the class name: after all adapting tokens of the front, so that
        every other order of the method is kept. In vision it stands directly after the patches. A template
        belongs to CLIP without tokens; beside boosting tokens the class name stands alone, as in phase 1.
        """
        if boosting is None:
            return TextCascade(self.before, self.after, self.template), VisionCascade(self.vision)
        text = TextCascade([*self.before, *boosting.before], self.after)
        return text, VisionCascade([*boosting.vision, *self.vision])


def coop_context(
    tower: TextTower, length: int, words: str, classes: int | None, position: str, name: str = "adapting"
) -> Prompts:
    """CoOp's context (arXiv 2109.01134): one layer of tokens at the end, in the middle or in front.

    Args:
        tower: where words are embedded.
        length: number of tokens, if there are no words.
        words: start from these words; their number is the length then, and the context is one for all classes.
        classes: number of classes for a class-specific context, else None.
        position: where the context stands: before the class name (``end``: the name is at the end), half and half
            (``middle``), or behind it (``front``).
    """
    if position not in POSITIONS:
        raise CasPLError(f"unknown class token position {position!r}: choose one of {', '.join(POSITIONS)}")
    words, rest = _words(words), []
    if words:
        length, ids = len(words.split(" ")), encode(words)
        values = word_tokens(tower, words, length).unsqueeze(0)
        rest = [Words(tuple(ids[length:]))] if len(ids) > length else []
        if rest and position != "end":
            raise CasPLError(f"CTX_INIT {words!r} has words of several tokens, which only position end can keep")
    else:
        if length < 1:
            raise CasPLError(f"a context needs at least one token, not {length} (N_CTX)")
        shape = (length,) if classes is None else (classes, length)
        values = normal_tokens(1, *shape, tower.positional_embedding.shape[1])
    segment = Segment(name, values)
    half = segment.length // 2
    if position == "end":
        return Prompts(before=[segment, *rest])
    if position == "front":
        return Prompts(after=[segment])
    front: list[Piece] = [Part(segment, 0, half)] if half else []
    return Prompts(before=front, after=[Part(segment, half, segment.length)])


def text_context(tower: TextTower, length: int, depth: int, words: str, name: str) -> list[Piece]:
    """IVLP's text tokens (arXiv 2210.03117): words give layer 0 its start if length <= 4, the rest of them stays.

    With length 2 and "a photo of a", "a photo" is learned and "of a" stands fixed behind it.
    """
    depth = _depth(length, depth, len(tower.transformer))
    if not depth:
        return []
    words = _words(words)
    values = normal_tokens(depth, length, tower.positional_embedding.shape[1])
    rest: tuple[int, ...] = ()
    if words and length <= MOST_WORDS:
        ids = encode(words)
        if len(ids) < length:
            raise CasPLError(
                f"CTX_INIT {words!r} has {len(ids)} tokens, fewer than the {length} to learn; leave it empty"
            )
        values[0] = word_tokens(tower, words, length)
        rest = tuple(ids[length:])
    return [Segment(name, values), *([Words(rest)] if rest else [])]


def vision_tokens(clip: CLIP, length: int, depth: int, name: str) -> list[Segment]:
    """Deep tokens of the image tower (VPT, arXiv 2203.12119)."""
    depth = _depth(length, depth, clip.sizes.vision_layers)
    if not depth:
        return []
    return [Segment(name, normal_tokens(depth, length, clip.sizes.vision_width))]


def both_towers(
    clip: CLIP, text: tuple[int, int], vision: tuple[int, int], words: str = "", name: str = "adapting"
) -> Prompts:
    """Independent tokens in both towers (IVLP).

    Args:
        text, vision: (length, depth) of each tower.
        words: see :func:`text_context`.
    """
    return Prompts(before=text_context(clip.text, *text, words, name), vision=vision_tokens(clip, *vision, name))


def _depth(length: int, depth: int, layers: int) -> int:
    """Depth within a tower of so many layers; 0 where there is nothing to prompt."""
    if length < 0 or depth < 0:
        raise CasPLError(f"a prompt cannot have {length} tokens in {depth} layers (N_CTX, PROMPT_DEPTH)")
    return min(depth, layers) if length else 0


def _words(text: str) -> str:
    """Underscores and runs of spaces read as one space."""
    return " ".join(text.replace("_", " ").split())
