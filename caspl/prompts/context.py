"""The contexts of the published methods, as segments and words around the class name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from caspl.errors import CasPLError
from caspl.prompts.coupling import Coupled
from caspl.prompts.initial import normal_tokens, word_tokens
from caspl.prompts.prompts import Prompts
from caspl.prompts.segment import Segment
from caspl.prompts.text import Part, Piece, fixed
from caspl.towers import CLIP
from caspl.towers.text import TextTower
from caspl.towers.tokenizer import encode

TokenSizes = tuple[int, int]
"""(length, depth) of deep tokens in one tower."""

POSITIONS = ("end", "middle", "front")
MOST_WORDS = 4  # IVLP and its heirs start from words only up to this length


def coop_context(
    tower: TextTower,
    length: int,
    words: str,
    classes: int | None = None,
    position: str = "end",
    segment_type: Callable[[str, Tensor], Segment] = Segment,
    name: str = "adapting",
) -> Prompts:
    """CoOp's context (arXiv 2109.01134): one layer of tokens at the end, in the middle or in front.

    Args:
        tower: where words are embedded.
        length: number of tokens, if there are no words.
        words: start from these words; their number is the length then, and the context is one for all classes.
        classes: number of classes for a class-specific context, else None.
        position: where the context stands: before the class name (``end``: the name is at the end), half and half
            (``middle``), or behind it (``front``).
        segment_type: makes the segment of a name and its first values.
        name: of the segment.
    """
    if position not in POSITIONS:
        raise CasPLError(f"unknown class token position {position!r}: choose one of {', '.join(POSITIONS)}")
    words, rest = _words(words), []
    if words:
        length, ids = len(words.split(" ")), encode(words)
        values = word_tokens(tower, words, length).unsqueeze(0)
        rest = fixed(ids[length:])
        if rest and position != "end":
            raise CasPLError(f"the words {words!r} have several tokens each, which only position end can keep")
    else:
        if length < 1:
            raise CasPLError(f"a context needs at least one token, not {length}")
        shape = (length,) if classes is None else (classes, length)
        values = normal_tokens(1, *shape, tower.positional_embedding.shape[1])
    segment = segment_type(name, values)
    half = segment.length // 2
    if position == "end":
        return Prompts(before=[segment, *rest])
    if position == "front":
        return Prompts(after=[segment])
    front: list[Piece] = [Part(segment, 0, half)] if half else []
    return Prompts(before=front, after=[Part(segment, half, segment.length)])


def late_words(tower: TextTower, length: int, words: str, name: str = "adapting") -> Prompts:
    """ProGrad's context: the last tokens start from words, those before them from zero.

    Words are counted by spaces, as published: where they have more byte-pair tokens, the last ones stay fixed.

    Raises:
        CasPLError: there are more words than tokens.
    """
    count, ids = len(words.split(" ")), encode(words)
    if count > length:
        raise CasPLError(f"the words {words!r} are {count}, more than the {length} tokens to learn")
    values = torch.zeros(1, length, tower.positional_embedding.shape[1])
    values[0, length - count :] = word_tokens(tower, words, count)
    return Prompts(before=[Segment(name, values), *fixed(ids[count:])])


def text_context(
    tower: TextTower, length: int, depth: int, words: str, name: str = "adapting", beyond: bool = False
) -> list[Piece]:
    """IVLP's text tokens (arXiv 2210.03117): words give layer 0 its start if length <= 4, the rest of them stays.

    With length 2 and "a photo of a", "a photo" is learned and "of a" stands fixed behind it.

    Args:
        tower: where they go; no deeper than it is.
        length, depth: of the tokens.
        words: see above.
        name: of the segment.
        beyond: keep what is deeper than the tower, for the other tower's sake (MaPLe).
    """
    words = _words(words)
    depth = depth if beyond else min(depth, len(tower.transformer))
    if not _any(length, depth):
        return [*fixed(encode(words))]
    values = normal_tokens(depth, length, tower.positional_embedding.shape[1])
    rest: list[int] = []
    if words and length <= MOST_WORDS:
        ids = encode(words)
        if len(ids) < length:
            raise CasPLError(f"the words {words!r} have {len(ids)} tokens, fewer than the {length} to learn; give none")
        values[0] = word_tokens(tower, words, length)
        rest = ids[length:]
    return [Segment(name, values), *fixed(rest)]


def placeholder_context(tower: TextTower, length: int, depth: int, words: str, name: str = "adapting") -> list[Piece]:
    """MPL's text tokens (arXiv 2502.14125): layer 0 starts from placeholders, and all words stay fixed behind it."""
    if not _any(length, depth):
        return []
    values = normal_tokens(depth, length, tower.positional_embedding.shape[1])
    values[0] = word_tokens(tower, "X " * length, length)
    return [Segment(name, values), *fixed(encode(_words(words)))]


def vision_tokens(clip: CLIP, length: int, depth: int, name: str = "adapting") -> list[Segment]:
    """Deep tokens of the image tower (VPT, arXiv 2203.12119)."""
    if not _any(length, depth):
        return []
    return [Segment(name, normal_tokens(min(depth, clip.sizes.vision_layers), length, clip.sizes.vision_width))]


def both_towers(clip: CLIP, text: TokenSizes, vision: TokenSizes, words: str = "", name: str = "adapting") -> Prompts:
    """Independent tokens in both towers (IVLP).

    Args:
        text, vision: (length, depth) of each tower.
        words: see :func:`text_context`.
    """
    return Prompts(text_context(clip.text, *text, words, name), vision=vision_tokens(clip, *vision, name))


def sizes_within(clip: CLIP, text: TokenSizes, vision: TokenSizes) -> tuple[TokenSizes, TokenSizes]:
    """The sizes of deep tokens in both towers that the towers can hold: no deeper than they are, (0, 0) for none."""
    layers = (clip.sizes.text_layers, clip.sizes.vision_layers)
    asked = ((length, min(depth, most)) for (length, depth), most in zip((text, vision), layers, strict=True))
    first, second = (size if 0 not in size else (0, 0) for size in asked)
    return first, second


def coupled_context(clip: CLIP, before: Sequence[Piece], add: int = 1, remove: int | None = None) -> Prompts:
    """Text pieces of which the image tower sees the first segment too, through linear maps (MaPLe, MPL).

    Args:
        before: what stands before the class name; a segment comes first.
        add, remove: see :class:`Coupled`.
    """
    source = before[0] if before else None
    if not isinstance(source, Segment):
        raise CasPLError("coupled prompts need at least one token in one layer")
    vision = Coupled(source.name, source, clip.sizes.vision_width, clip.sizes.vision_layers, add, remove)
    return Prompts(before, vision=[vision])


def _any(length: int, depth: int) -> bool:
    """Whether there are any tokens."""
    if length < 0 or depth < 0:
        raise CasPLError(f"a prompt cannot have {length} tokens in {depth} layers")
    return bool(length and depth)


def _words(text: str) -> str:
    """Underscores and runs of spaces read as one space."""
    return " ".join(text.replace("_", " ").split())
