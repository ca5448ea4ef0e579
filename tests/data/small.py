"""The published data sets in small: the miniatures with their split files, and what the table would say of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from yacs.config import CfgNode

import datasets  # noqa: F401  registers
from caspl.data import PUBLISHED, Published, read_split, write_split
from caspl.data.official import CLASSNAMES, classnames_text, packaged_classnames
from caspl.data.split import blob_id
from dassl.data.datasets import DATASET_REGISTRY
from tests.datasets.miniatures import MINIATURES

Small = Callable[..., Published]


def write_small(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> Published:
    """Write a data set in small below ``root``, and let the table say that this is the published one."""
    miniature = MINIATURES[name]
    miniature.write(root)
    published = PUBLISHED[name]
    folder = root / published.folder
    train, val, test = (count * len(miniature.names) for count in miniature.per_class)
    small = replace(
        published,
        classes=len(miniature.names),
        counts=(0 if published.test_only else train, val, test),
        gigabytes=0,
    )
    if published.split_file:
        # Its class makes the split, in its own name.
        DATASET_REGISTRY.get(name)(CfgNode({"SEED": 1, "DATASET": {"NAME": name, "ROOT": str(root), "NUM_SHOTS": -1}}))
        path = folder / published.split_file
        write_split(path, replace(read_split(path), origin=""))
        small = replace(small, split_blob=blob_id(path.read_bytes()))
    elif (folder / CLASSNAMES).exists():
        # The whole list: what it says of the few classes here is the same.
        (folder / CLASSNAMES).write_text(classnames_text(dict(packaged_classnames())))
    monkeypatch.setitem(PUBLISHED, name, small)
    return small


def tree(root: Path) -> dict[str, int]:
    """Everything below a folder, with the times of its last change."""
    return {str(path.relative_to(root)): path.lstat().st_mtime_ns for path in [root, *root.rglob("*")]}
