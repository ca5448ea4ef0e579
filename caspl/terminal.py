"""What is known of the terminal that somebody looks at."""

from __future__ import annotations

import os
from typing import TextIO

COLUMNS = 80
"""Of a terminal that does not say how many it has."""


def columns(stream: TextIO) -> int | None:
    """The width for a progress bar: None where the bar finds it by itself.

    Some terminals, such as those that containers and editors open, say that they have no columns; a bar of that width
    is a blank line.
    """
    try:
        return None if os.get_terminal_size(stream.fileno()).columns else COLUMNS
    except (OSError, ValueError, AttributeError):  # no terminal
        return None
