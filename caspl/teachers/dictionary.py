"""Names that a teacher can choose from where the classes are not known (KDPL, arXiv 2407.03056, class-agnostic)."""

from __future__ import annotations

from pathlib import Path

from caspl.errors import CasPLError
from caspl.tiny import colours, shapes

TINY = "tinyworld"
"""The dictionary that comes with the library: what the images of TinyWorld show."""


def read_dictionary(source: str) -> list[str]:
    """The names of a file, one a line, or of ``tinyworld``. Empty lines and repeated names are left out.

    Raises:
        CasPLError: there is no such file, it is no text in UTF-8, or it has no two names.
    """
    if source == TINY:
        return [f"{colour} {shape}" for colour in colours.NAMES for shape in shapes.NAMES]
    path = Path(source)
    if not path.is_file():
        raise CasPLError(f"there is no dictionary {source}: name a file with one name a line, or {TINY}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CasPLError(f"{source} is no text in UTF-8: a dictionary is a file with one name a line") from error
    names = list(dict.fromkeys(filter(None, map(str.strip, lines))))
    if len(names) < 2:
        raise CasPLError(f"{source} has {len(names)} names: a dictionary needs two or more, one a line")
    return names
