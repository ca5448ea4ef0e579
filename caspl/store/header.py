"""What a store says of itself, and whether it is the one that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from caspl.errors import CasPLError
from caspl.files import write_json
from caspl.files.parse import parse_json

FILE = "store.json"
VERSION = 1
WORDS = {
    "version": "another version of the library",
    "dataset": "another data set",
    "split": "another split of the data set",
    "identity": "another encoder",
    "plan": "other views",
    "pixels": "other preprocessing of the images",
    "computes": "another precision",
}


@dataclass(frozen=True)
class Header:
    """What features depend on, beside the image and the number of its view.

    Args:
        encoder: its name, for people.
        identity: hash of its weights, its tokens and its own preprocessing.
        dataset: name of the data set.
        split: digest of its whole split.
        plan: of the views (:meth:`caspl.store.ViewPlan.as_dict`).
        pixels: how images are read and normalised.
        computes: type that the encoder computes in.
        version: of the rules by which views are made and encoded.
    """

    encoder: str
    identity: str
    dataset: str
    split: str
    plan: Mapping[str, Any]
    pixels: Mapping[str, Any]
    computes: str = "float32"
    version: int = VERSION

    def require(self, found: Header, folder: Path) -> None:
        """Refuse a store of something else.

        Raises:
            CasPLError: naming what differs.
        """
        for key, words in WORDS.items():
            here, there = getattr(self, key), getattr(found, key)
            if here != there:
                raise CasPLError(
                    f"the store {folder} holds features of {words} ({there}, of {found.encoder}, not {here}, of "
                    f"{self.encoder}): name another folder with TRAINER.CASPL.STORE, or delete it"
                )

    def write(self, folder: Path) -> None:
        """Write it into the store's folder."""
        write_json(folder / FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Header | None:
        """That of a folder; None where there is none.

        Raises:
            CasPLError: it cannot be read.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            return cls(**parse_json(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise CasPLError(f"{path} is no header of a store ({error}): delete the folder") from error
