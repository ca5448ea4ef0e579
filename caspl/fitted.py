"""What ``caspl fit`` notes in a run's folder before it begins, for whoever loads the run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from caspl.files import write_json
from caspl.files.parse import parse_json

FILE = "fit.json"
BOOST = "boost"
"""Folder in the run: of phase 1."""


@dataclass(frozen=True)
class Fitted:
    """A fit that was begun.

    Args:
        command: that goes on with it.
        boosts_only: it ends after phase 1, so that the model is in the folder of that.
    """

    command: str
    boosts_only: bool

    def write(self, folder: Path) -> None:
        """Note it in the run's folder."""
        write_json(folder / FILE, asdict(self))

    @classmethod
    def there(cls, folder: Path) -> Fitted | None:
        """The one that was begun in a folder; None where there is none, or the note is damaged."""
        try:
            found = parse_json((folder / FILE).read_text(encoding="utf-8"))
            return cls(str(found["command"]), bool(found["boosts_only"]))
        except (OSError, ValueError, LookupError, TypeError):
            return None
