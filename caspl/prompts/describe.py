"""Prompts as plain JSON and back: what a checkpoint and a boosting file say of how they are built.

    {"texts": {"class": {"before": [piece, ...], "nearest": [...], "after": [...], "templates": ["{}."]}, ...},
     "combine": "stack", "vision": [name, ...],
     "segments": {"text": {name: segment, ...}, "vision": {...}}}

A piece is ``{"segment": name}``, with ``start`` and ``stop`` where it is a part of one, or ``{"words": "of a", "ids":
[539, 320]}``. A segment is what :meth:`AnySegment.describe` says: its kind, and what that kind needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from caspl.errors import CasPLError
from caspl.prompts.prompts import Prompts, Texts
from caspl.prompts.segment import KINDS, AnySegment, Segment, by_name
from caspl.prompts.text import Part, Piece, Words, segment_of
from caspl.towers.tokenizer import decode

PLACES = ("before", "nearest", "after")


def describe(prompts: Prompts) -> dict[str, Any]:
    """See :meth:`Prompts.describe`."""
    sets = prompts.sets
    text = by_name(filter(None, (segment_of(piece) for texts in sets.values() for piece in texts.pieces)))
    segments = {"text": text, "vision": by_name(prompts.vision)}
    return {
        "texts": {name: _describe_texts(texts) for name, texts in sets.items()},
        "combine": prompts.combine,
        "vision": [segment.name for segment in prompts.vision],
        "segments": {tower: {n: s.describe() for n, s in found.items()} for tower, found in segments.items()},  # type: ignore[operator]
    }


def prompts_of(description: Mapping[str, Any]) -> Prompts:
    """See :meth:`Prompts.of`."""
    try:
        with torch.device("meta"):
            text = _segments(description["segments"]["text"], {})
            vision = _segments(description["segments"]["vision"], text)
        sets = {name: _texts_of(texts, text) for name, texts in description["texts"].items()}
        first = sets.pop("class")
        return Prompts(
            first.before,
            first.after,
            first.templates,
            first.nearest,
            vision=[vision[name] for name in description["vision"]],
            others=sets,
            combine=str(description["combine"]),
        )
    except CasPLError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise CasPLError(
            f"the description of the prompts is damaged ({type(error).__name__}: {error}): take the file from its "
            "origin again"
        ) from error


def _describe_texts(texts: Texts) -> dict[str, Any]:
    pieces = {place: [_describe_piece(piece) for piece in getattr(texts, place)] for place in PLACES}
    return {**pieces, "templates": list(texts.templates)}


def _describe_piece(piece: Piece) -> dict[str, Any]:
    if isinstance(piece, Words):
        return {"words": decode(piece.ids), "ids": list(piece.ids)}
    if isinstance(piece, Part):
        return {"segment": piece.segment.name, "start": piece.start, "stop": piece.stop}
    return {"segment": piece.name}


def _texts_of(found: Mapping[str, Any], segments: Mapping[str, AnySegment]) -> Texts:
    places = {place: [_piece_of(piece, segments) for piece in found[place]] for place in PLACES}
    return Texts(places["before"], places["after"], tuple(map(str, found["templates"])), places["nearest"])


def _piece_of(found: Mapping[str, Any], segments: Mapping[str, AnySegment]) -> Piece:
    if "ids" in found:
        return Words(tuple(int(number) for number in found["ids"]))
    segment = segments[found["segment"]]
    if not isinstance(segment, Segment):
        raise TypeError(f"{segment.name} is no segment of texts")
    return Part(segment, int(found["start"]), int(found["stop"])) if "start" in found else segment


def _segments(found: Mapping[str, Mapping[str, Any]], sources: Mapping[str, AnySegment]) -> dict[str, AnySegment]:
    return {name: _segment(name, said, sources) for name, said in found.items()}


def _segment(name: str, said: Mapping[str, Any], sources: Mapping[str, AnySegment]) -> AnySegment:
    kind = KINDS.get(said["kind"])
    if kind is None:
        known: Sequence[str] = sorted(KINDS)
        raise CasPLError(
            f"the segment {name!r} is of the kind {said['kind']!r}, which is not known (there are {', '.join(known)}): "
            "import the module that defines it first"
        )
    return kind.of(name, said, sources)
