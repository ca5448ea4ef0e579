"""Pieces and segments as plain JSON and back: the parts of what :meth:`caspl.prompts.Prompts.describe` writes.

    {"texts": {"class": {"before": [piece, ...], "nearest": [...], "after": [...], "templates": ["{}."]}, ...},
     "combine": "stack", "vision": [name, ...],
     "segments": {"text": {name: segment, ...}, "vision": {...}}}

A piece is ``{"segment": name}``, with ``start`` and ``stop`` where it is a part of one, or ``{"words": "of a", "ids":
[539, 320]}``. A segment is what :meth:`AnySegment.describe` says: its kind, and what that kind needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from caspl.errors import CasPLError
from caspl.prompts.segment import KINDS, AnySegment, Segment
from caspl.prompts.text import Part, Piece, Words
from caspl.towers.tokenizer import decode


def describe_piece(piece: Piece) -> dict[str, Any]:
    """A piece of a text, its segment by name."""
    if isinstance(piece, Words):
        return {"words": decode(piece.ids), "ids": list(piece.ids)}
    if isinstance(piece, Part):
        return {"segment": piece.segment.name, "start": piece.start, "stop": piece.stop}
    return {"segment": piece.name}


def piece_of(said: Mapping[str, Any], segments: Mapping[str, AnySegment]) -> Piece:
    """The piece that was described.

    Raises:
        KeyError, TypeError, ValueError: if the description is damaged.
    """
    if "ids" in said:
        return Words(tuple(int(number) for number in said["ids"]))
    segment = segments[said["segment"]]
    if not isinstance(segment, Segment):
        raise TypeError(f"{segment.name} is no segment of texts")
    return Part(segment, int(said["start"]), int(said["stop"])) if "start" in said else segment


def segments_of(
    said: Mapping[str, Mapping[str, Any]], sources: Mapping[str, AnySegment] | None = None
) -> dict[str, AnySegment]:
    """The segments of a tower that were described.

    Args:
        sources: the text tower's, for those that are made from them.

    Raises:
        CasPLError: for a kind that is not known; code is never looked for by its name.
        KeyError, TypeError, ValueError: if the description is damaged.
    """
    found = {}
    for name, one in said.items():
        kind = KINDS.get(one["kind"])
        if kind is None:
            raise CasPLError(
                f"the segment {name!r} is of the kind {one['kind']!r}, which is not known (there are "
                f"{', '.join(sorted(KINDS))}): import the module that defines it first"
            )
        found[name] = kind.of(name, one, sources or {})
    return found
