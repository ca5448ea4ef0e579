"""Pictures without labels and the names of the classes that they may show: enough for phase 1, and for it alone."""

from __future__ import annotations

from pathlib import Path

from yacs.config import CfgNode

from caspl.data import Entry
from caspl.errors import CasPLError
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase
from datasets.protocol.assign import class_names
from datasets.protocol.items import make_items
from datasets.protocol.walk import images_below

UNREAD = 0
"""A label, since items have one. Nothing reads it: tests and methods that need labels are refused."""


@DATASET_REGISTRY.register()
class Pictures(DatasetBase):
    """All images below ``DATASET.ROOT``; ``DATASET.FOLDER.CLASSES`` is a file with the name of a class on each line."""

    test_only = True  # what needs labels is refused

    def __init__(self, cfg: CfgNode) -> None:
        root, file = Path(cfg.DATASET.ROOT).expanduser(), Path(cfg.DATASET.FOLDER.CLASSES)
        if not cfg.TEST.NO_TEST:
            raise CasPLError("Pictures have no labels to be tested by: set TEST.NO_TEST True")
        try:
            lines = (root / file.expanduser()).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise CasPLError(f"DATASET.FOLDER.CLASSES: {root / file} cannot be read as lines of names") from error
        given = [line.strip() for line in lines if line.strip()]
        names = list(class_names(given, {}).values())
        items = make_items(root.resolve(), [Entry(path, UNREAD, "") for path in images_below(root)])
        if not items:
            raise CasPLError(f"Pictures: {root} holds no image")
        super().__init__(train_x=items, train_u=items, test=items)
        self._classnames, self._num_classes, self._lab2cname = names, len(names), dict(enumerate(names))
