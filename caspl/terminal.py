"""What is known of the terminal that somebody looks at."""

from __future__ import annotations

import os
from typing import NamedTuple, TextIO


class Shape(NamedTuple):
    """Of a terminal, for a progress bar; None where the bar finds it by itself."""

    columns: int | None
    rows: int | None


def shape(stream: TextIO) -> Shape:
    """The room for a progress bar.

    Some terminals, such as those that containers and editors open, say that they have no columns and rows; a bar of
    that size is a blank line. They are taken for 80 by 24.
    """
    try:
        known = all(os.get_terminal_size(stream.fileno()))
    except (OSError, ValueError, AttributeError):  # no terminal
        known = True
    return Shape(None, None) if known else Shape(80, 24)
