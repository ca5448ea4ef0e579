"""What the page shows beside tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Drawing:
    """A picture.

    Attributes:
        title: of its caption.
        svg: text of the picture; ours, with all names in it escaped.
        says: in words, for those who do not see it.
        width: its natural one, in pixels.
    """

    title: str
    svg: str
    says: str
    width: int


@dataclass(frozen=True)
class Key:
    """An entry of a legend: a method, and a line with its mark."""

    name: str
    svg: str
