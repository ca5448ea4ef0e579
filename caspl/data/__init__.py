"""The published data sets: what they hold and where they lie, how to get them and how to check them.

``python -m caspl.data`` is the command. Nothing here needs the data-set classes.
"""

from caspl.data.published import PUBLISHED, Published, find_published
from caspl.data.split import Entry, Split, check_split, read_split, write_split

__all__ = [
    "PUBLISHED",
    "Entry",
    "Published",
    "Split",
    "check_split",
    "find_published",
    "read_split",
    "write_split",
]
