"""Few-shot samples that CoOp-style repositories keep as pickles, read without running anything they contain."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from caspl.errors import CasPLError, first_line

ITEM_CLASS = ("dassl.data.datasets.base_dataset", "Datum")


class PickledItem:
    """Takes the place of the item class: it holds the pickled attributes, and nothing can be done through it."""


class _Refused(Exception):
    """It asks for what is not known here."""


class _Unpickler(pickle.Unpickler):
    """Knows one class. Lists, dictionaries, strings and numbers need none."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) != ITEM_CLASS:
            raise _Refused(f"it asks for {module_name}.{global_name}")
        return PickledItem


def read_pickled_sample(path: Path) -> dict[str, list[tuple[str, int]]]:
    """Read the image paths (as they were on the machine that wrote them) and labels of each list of a sample.

    Raises:
        CasPLError: the file is damaged or holds anything but image items.
    """
    try:
        with path.open("rb") as file:
            content = _Unpickler(file).load()
        return {
            str(name): [(str(vars(item)["_impath"]), int(vars(item)["_label"])) for item in items]
            for name, items in content.items()
        }
    # A damaged pickle can fail in any way: opcodes are executed on whatever is on its stack.
    except Exception as error:
        fault = str(error) if isinstance(error, _Refused) else first_line(error)
        raise CasPLError(f"the few-shot sample {path} is refused ({fault}): delete it, a new one is drawn") from error
