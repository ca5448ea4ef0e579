"""Texts that describe classes, from a user's file: ``{"class name": ["a text", "another one"], ...}`` as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from caspl.errors import CasPLError, first_line
from caspl.files.parse import parse_json

SHOWN = 3
"""Classes that a sentence names."""


@dataclass(frozen=True)
class ClassTexts:
    """What a file says.

    Args:
        path: of the file.
        texts: class name, read as :func:`key`, -> its texts.
    """

    path: str
    texts: Mapping[str, tuple[str, ...]]

    @classmethod
    def read(cls, path: str) -> ClassTexts:
        """Read a file.

        Raises:
            CasPLError: there is none, or it is of another form.
        """
        form = 'class texts are a JSON file of the form {"class name": ["a text", "another one"], ...}'
        try:
            content = parse_json(Path(path).expanduser().read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise CasPLError(f"{path} cannot be read ({first_line(error)}): {form}") from error
        if not isinstance(content, dict) or not content:
            raise CasPLError(f"{path} holds no class names: {form}")
        for name, texts in content.items():
            if not isinstance(texts, list) or not texts or not all(isinstance(t, str) and t.strip() for t in texts):
                raise CasPLError(f"{path} has no list of texts for {name!r}: {form}")
        if len(found := {key(name): tuple(texts) for name, texts in content.items()}) < len(content):
            raise CasPLError(f"{path} has a class twice: names are read without capitals, underscores as spaces")
        return cls(path, found)

    @property
    def digest(self) -> str:
        """Of what it says, whatever the file's order."""
        whole = json.dumps({name: self.texts[name] for name in sorted(self.texts)})
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def of(self, classnames: Sequence[str]) -> list[tuple[str, ...]]:
        """The texts of each of these classes.

        Raises:
            CasPLError: some have none.
        """
        missing = [name for name in classnames if key(name) not in self.texts]
        if missing:
            some = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
            raise CasPLError(
                f"{self.path} has no texts for {len(missing)} of {len(classnames)} classes ({some}): add them"
            )
        return [self.texts[key(name)] for name in classnames]


def key(name: str) -> str:
    """A class name as it is looked for: without capitals, underscores read as spaces."""
    return " ".join(name.replace("_", " ").lower().split())
