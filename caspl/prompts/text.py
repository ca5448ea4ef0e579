"""The cascade of the text tower: ``[SOS][segment or words]...[class name][segment or words]...[.][EOS]``.

CasPL's order is ``[SOS][adapting][words that stay][boosting][class name][.][EOS]``: the tower is causal, so
adapting tokens never see boosting tokens. First-layer tokens get positional embeddings like words; deeper ones
replace the outputs in their place and get none. What stands before the first class-dependent token is computed
once for all classes (see :mod:`caspl.towers.text`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from caspl.errors import CasPLError
from caspl.prompts.segment import AnySegment, Segment, by_name
from caspl.prompts.spans import expand_tokens, overwrite
from caspl.prompts.templates import checked
from caspl.towers.text import TextTower
from caspl.towers.tokenizer import encode, tokenize


@dataclass(frozen=True)
class Words:
    """Fixed words between segments, e.g. ``of a``, as byte-pair ids."""

    ids: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Part:
    """The tokens ``start..stop-1`` of a segment of depth 1, for a context that stands on both sides of the name."""

    segment: Segment
    start: int
    stop: int


Piece = Segment | Part | Words


class TextCascade(nn.Module):
    """Ordered segments of the text tower around the class names.

    Args:
        before: what stands between the start token and the class name, in order.
        after: what stands between the class name and the full stop; segments there have depth 1, for their
            position differs from class to class.
        tail: what follows the name and ``after``; it is tokenised together with the name.
        heads: segments without tokens that change the features, in order.
    """

    names = ("class",)
    sos_ids: Tensor
    name_ids: Tensor  # (classes, tokens), with zeros where tokens of ``after`` go
    name_end: Tensor  # (classes,)
    slots: Tensor  # (classes, tokens of ``after``)

    def __init__(
        self,
        before: Sequence[Piece] = (),
        after: Sequence[Piece] = (),
        tail: str = ".",
        heads: Sequence[AnySegment] = (),
    ) -> None:
        super().__init__()
        self.before = list(before)
        self.after = list(after)
        self.tail = tail
        self._heads = tuple(heads)  # registered with the segments
        tokens = filter(None, map(segment_of, (*self.before, *self.after)))
        self.segments = nn.ModuleDict(by_name([*tokens, *heads]))
        self._check_order()
        self.classnames: list[str] = []

    @property
    def conditional(self) -> bool:
        """Whether the tokens depend on the image."""
        return any(segment.conditional for segment in self.segments.values())

    @property
    def samples(self) -> int:
        """How many samples of its tokens are run; 0 where none are drawn."""
        return max((segment.samples for segment in self.segments.values()), default=0)  # type: ignore[type-var, return-value]

    def set_classes(self, classnames: Sequence[str], tower: TextTower) -> None:
        """Tokenise the class names (underscores are read as spaces) and lay out the positions.

        Raises:
            CasPLError: if a name does not fit beside the segments, or if there are no names.
        """
        if not classnames:
            raise CasPLError("there are no class names")
        self.classnames = [name.replace("_", " ") for name in classnames]
        device, limit = tower.positional_embedding.device, tower.positional_embedding.shape[0]
        sos = int(tokenize("")[0, 0])
        eos = int(tokenize("")[0].max())
        self._place("sos_ids", torch.tensor([sos]), device)
        for index, piece in enumerate(self.before):
            if isinstance(piece, Words):
                self._place(f"words_{index}", torch.tensor(piece.ids), device)
        head = 1 + sum(self._length(index, piece) for index, piece in enumerate(self.before))
        rows, slots = zip(*(self._row(name, eos) for name in self.classnames), strict=True)
        length = max(map(len, rows))
        if head + length > limit:
            longest = max(range(len(rows)), key=lambda index: len(rows[index]))
            raise CasPLError(
                f"the class name {self.classnames[longest]!r} needs {length} positions and the tokens before it "
                f"{head}, but the text tower has {limit}; shorten the name or the prompts"
            )
        self._place("name_ids", torch.tensor([row + [0] * (length - len(row)) for row in rows]), device)
        self._place("name_end", torch.tensor([len(row) - 1 for row in rows]), device)
        self._place("slots", torch.tensor(slots, dtype=torch.long), device)
        for segment in self.segments.values():
            segment.set_classes(self.classnames, tower)  # type: ignore[operator]

    def forward(
        self, tower: TextTower, condition: Tensor | None = None, budget: int = 0, chosen: Tensor | None = None
    ) -> Tensor:
        """Text features of the classes, not normalised.

        Args:
            tower: the text tower.
            condition: normalised image features (groups, embed_dim) for image-conditioned segments.
            budget: see :meth:`TextTower.classes`.
            chosen: (chosen,) numbers of the classes that are wanted; None for all.

        Returns:
            (classes, embed_dim), or (groups, classes, embed_dim) if conditioned; of sampled tokens
            (groups, samples, classes, embed_dim), with one group if not conditioned.
        """
        if chosen is not None and any(one.class_specific or one.differs for one in self.segments.values()):
            raise CasPLError("class-specific tokens are made for all classes: some of them cannot be chosen")
        names, ends = self._names(tower, condition, chosen), _rows(self.name_end, chosen)
        features = self._run(tower, names, ends, condition, budget)
        if self.samples:
            return features.unflatten(0, (-1, self.samples))
        return features[0] if condition is None else features

    def of_ids(self, tower: TextTower, ids: Tensor, end: Tensor) -> Tensor:
        """Text features (names, embed_dim), not normalised, of names that come as ids; for export.

        Args:
            tower: the text tower.
            ids: (names, tokens) of each name with all that stands behind it, padded with zeros.
            end: (names,) places of the end tokens among them.
        """
        return self._run(tower, tower.embed(ids), end)[0]

    def outputs(self, tower: TextTower, budget: int = 0, chosen: Tensor | None = None) -> Tensor:
        """Outputs of the last block at every position of the tower, also behind the end tokens, where zeros stand.

        Nothing is shared here but what tokens there are: all positions of all classes are computed.

        Args:
            tower, budget, chosen: see :meth:`forward`; no segment depends on the image.

        Returns:
            (classes, positions, width).
        """
        names, ends = self._names(tower, None, chosen), _rows(self.name_end, chosen)
        shared, own, split = self._first_layer(tower, None)
        head = [expand_tokens(part, names.shape[0]) for part in (*shared, *own)]
        used = names.shape[1] + sum(part.shape[1] for part in head)
        zeros = torch.zeros_like(self.name_ids[:1, :1]).expand(1, tower.positional_embedding.shape[0] - used)
        pads = tower.embed(zeros).expand(names.shape[0], -1, -1)

        def refresh(layer: int, x: Tensor, which: slice) -> Tensor:
            spans = self._fresh(layer, len(self.before), None, False)
            return overwrite(x, [(at, tokens[which] if tokens.dim() == 3 else tokens) for at, tokens in spans])

        return tower.classes(torch.cat([*head, names, pads], dim=1), ends, (), 0, refresh, budget, whole=True)[0]

    def _run(
        self, tower: TextTower, names: Tensor, name_end: Tensor, condition: Tensor | None = None, budget: int = 0
    ) -> Tensor:
        """Features (groups, classes, embed_dim) of embedded names (classes, tokens, width)."""
        classes = names.shape[0]
        shared, own, split = self._first_layer(tower, condition)
        groups = max((part.shape[0] for part in shared if part.dim() == 3), default=1)
        prefix = torch.cat([expand_tokens(part, groups) for part in shared], dim=1)

        def refresh(own: bool, layer: int, x: Tensor, which: slice = slice(None)) -> Tensor:
            spans = self._fresh(layer, split, condition, own)
            return overwrite(x, [(at, tokens[which] if own and tokens.dim() == 3 else tokens) for at, tokens in spans])

        memories = tower.prefix(prefix, partial(refresh, False))
        head = sum(part.shape[-2] for part in own)
        sequence = torch.cat([*(expand_tokens(part, classes) for part in own), names], dim=1)
        start, end = prefix.shape[1], name_end + head
        features = tower.classes(sequence, end, memories, start, partial(refresh, True), budget)
        for one in self._heads:
            features = one.finish(features)
        return features

    def again(self) -> TextCascade:
        """The same texts (segments shared, not copied) for other classes, which must be set anew."""
        return TextCascade(self.before, self.after, self.tail, self._heads)

    def only(self, names: Sequence[str]) -> TextCascade:
        """The same segments (shared, not copied) cut to those named, without words; classes must be set anew."""
        kept = [piece for piece in self.before if isinstance(piece, Segment) and piece.name in names]
        return TextCascade(kept, heads=[one for one in self._heads if one.name in names])

    def _check_order(self) -> None:
        """Refuse what the layout cannot hold.

        Raises:
            ValueError: for deep tokens after the class name, or image-conditioned ones where classes differ already.
        """
        own = False  # whether tokens differ from class to class from here on
        for after, pieces in ((False, self.before), (True, self.after)):
            own = own or after
            for segment in filter(None, map(segment_of, pieces)):
                if after and segment.depth > 1:
                    raise ValueError(f"segment {segment.name!r} stands after the class name and must have depth 1")
                own = own or segment.class_specific or segment.differs
                if own and segment.conditional:
                    raise ValueError(
                        f"segment {segment.name!r} depends on the image: it must stand before the class name and "
                        "before class-specific tokens"
                    )

    def _row(self, name: str, eos: int) -> tuple[list[int], list[int]]:
        """Ids of one class's own words with zeros where tokens of ``after`` go, and the places of those zeros.

        The name is tokenised together with the tail: a name that ends in punctuation fuses with the full stop.
        """
        whole, bare = encode(name + self.tail), len(encode(name))
        row = whole[:bare]
        inserted: list[int] = []
        for piece in self.after:
            if isinstance(piece, Words):
                row += piece.ids
            else:
                inserted += range(len(row), len(row) + _stretch(piece))
                row += [0] * _stretch(piece)
        return [*row, *whole[bare:], eos], inserted

    def _first_layer(self, tower: TextTower, condition: Tensor | None) -> tuple[list[Tensor], list[Tensor], int]:
        """Tokens before the class name: the shared ones, those that differ by class, and where the split is."""
        shared, own = [tower.embed(self.sos_ids)], list[Tensor]()
        split = len(self.before)
        for index, piece in enumerate(self.before):
            if isinstance(piece, Words):
                tokens = tower.embed(getattr(self, f"words_{index}"))
            else:
                tokens = _tokens(piece, 0, condition)
                if self._is_class_specific(piece) or isinstance(piece, Segment) and piece.differs:
                    split = min(split, index)
            (own if index >= split else shared).append(tokens)
        return shared, own, split

    def _names(self, tower: TextTower, condition: Tensor | None, chosen: Tensor | None) -> Tensor:
        """Class names, what stands after them, full stop and end token: (classes, tokens, width)."""
        names = tower.embed(_rows(self.name_ids, chosen))
        pieces = [piece for piece in self.after if not isinstance(piece, Words)]
        if not pieces:
            return names
        for piece in pieces:
            self._is_class_specific(piece)
        fresh = [_tokens(piece, 0, condition) for piece in pieces]
        inserted = torch.cat([expand_tokens(tokens, names.shape[0]) for tokens in fresh], dim=1)
        index = _rows(self.slots, chosen).unsqueeze(-1).expand(-1, -1, names.shape[-1])
        return names.scatter(1, index, inserted.to(names.dtype))

    def _fresh(self, layer: int, split: int, condition: Tensor | None, own: bool) -> list[tuple[int, Tensor]]:
        """Spans that layer ``layer`` renews within the own part, or within the shared part."""
        spans: list[tuple[int, Tensor]] = []
        if layer == 0:  # the tokens of the first layer are in the sequence already
            return spans
        start = 1
        for index, piece in enumerate(self.before):
            if index == split:
                start = 0
            if (index >= split) is own and isinstance(piece, Segment) and piece.renews(layer):
                spans.append((start, piece.tokens(layer, condition)))
            start += self._length(index, piece)
        return spans

    def _length(self, index: int, piece: Piece) -> int:
        return len(piece.ids) if isinstance(piece, Words) else _stretch(piece)

    def _is_class_specific(self, piece: Segment | Part) -> bool:
        """Whether every class has its own tokens; as many as there are classes, or it is an error."""
        segment = piece.segment if isinstance(piece, Part) else piece
        made_for = segment.values.shape[1]
        if segment.class_specific and made_for != len(self.classnames):
            raise CasPLError(
                f"the class-specific tokens {segment.name!r} were made for {made_for} classes, but there are "
                f"{len(self.classnames)}: class-specific contexts cannot be moved to other classes"
            )
        return segment.class_specific

    def _place(self, name: str, value: Tensor, device: torch.device) -> None:
        self.register_buffer(name, value.to(device), persistent=False)


def plain_text(template: str) -> TextCascade:
    """Zero-shot CLIP's texts: the words of a template and no tokens."""
    head, tail = checked(template).split("{}")
    return TextCascade(fixed(encode(head)), tail=tail)


def fixed(ids: Sequence[int]) -> list[Words]:
    """Words that stay as they are; none if there are no ids."""
    return [Words(tuple(ids))] if ids else []


def segment_of(piece: Piece) -> Segment | None:
    """The segment whose tokens a piece puts there; words have none."""
    if isinstance(piece, Words):
        return None
    return piece.segment if isinstance(piece, Part) else piece


def _rows(of_classes: Tensor, chosen: Tensor | None) -> Tensor:
    return of_classes if chosen is None else of_classes.index_select(0, chosen)


def _stretch(piece: Segment | Part) -> int:
    return piece.stop - piece.start if isinstance(piece, Part) else piece.length


def _tokens(piece: Segment | Part, layer: int, condition: Tensor | None) -> Tensor:
    if isinstance(piece, Part):
        return piece.segment.tokens(layer, condition)[..., piece.start : piece.stop, :]
    return piece.tokens(layer, condition)
