"""The forms in which a user's data may come."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from caspl.data.listing import found_in
from caspl.errors import CasPLError
from datasets.protocol.subset import some
from datasets.protocol.tables import is_split, read_list
from datasets.protocol.walk import PARTS, Found, class_images, folders

logger = logging.getLogger(__name__)

OWN_SPLIT = "split_caspl"  # start of the names of split files that are made here: they follow from another form


def find_source(root: Path, listed: Path | None, others: Sequence[Path]) -> Path | tuple[list[Found], str]:
    """What describes the images of a folder: a split file, or the images as found and the name of their list, if any.

    Args:
        root: the folder.
        listed: a split file or list that the user names.
        others: files and folders that the user names for other ends.

    Raises:
        CasPLError: nothing does, it is not clear what does, or it has faults.
    """
    if listed:
        return listed if is_split(listed) else (read_list(listed, root), listed.stem)
    splits = sorted(path for path in root.glob("split*.json") if not path.name.startswith(OWN_SPLIT))
    if len(splits) > 1:
        files = some([path.name for path in splits])
        raise CasPLError(f"{root} has several split files ({files}): name one in DATASET.FOLDER.LIST")
    if splits:
        return splits[0]
    here = folders(root)
    parts = {name: PARTS[name.lower()] for name in here if name.lower() in PARTS}
    apart = {above for path in others if path.is_dir() for above in (path, *path.parents)}
    names = [name for name in here if root / name not in apart]
    in_parts = bool(parts) and (parts.keys() >= set(names) or {"train", "test"} <= set(parts.values()))
    classes = {name: folders(root / name) for name in parts} if in_parts else {}
    if any(classes.values()):
        beside = [name for name in names if name not in parts]
        if beside:
            logger.warning("%s has folders beside %s, which are not used: %s", root, ", ".join(parts), some(beside))
        return [x for name, part in parts.items() for x in class_images(root, classes[name], name, part)], ""
    if len(names) > 1 and not in_parts:
        return class_images(root, names), ""
    tables = [path for path in sorted(root.glob("[!.]*.[ct]sv")) if path not in others]
    if len(tables) == 1:
        return read_list(tables[0], root), tables[0].stem
    deeper = next((f"; did you mean --root {root / name}?" for name in names if len(folders(root / name)) > 1), "")
    raise CasPLError(
        f"{found_in(root)}, where folders of images for at least two classes are expected, train and test folders of "
        f"such, one split*.json, or one .csv or .tsv (of several, name one in DATASET.FOLDER.LIST){deeper}"
    )
