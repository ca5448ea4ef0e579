"""A user's lists: images with their classes, images alone, names of classes."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

from caspl.data.listing import PARTS
from caspl.errors import CasPLError
from caspl.files.parse import parse_json
from datasets.protocol.walk import Found

PATH_COLUMNS = ("path", "file", "filename", "file_name", "image")
CLASS_COLUMNS = ("class", "classname", "label")

Row = dict[str, str]


def read_list(path: Path, root: Path) -> list[Found]:
    """Read a list with the columns path, class (or label) and, if wanted, split.

    Args:
        path: a ``.csv``, ``.tsv`` or ``.json`` file.
        root: the images' folder; relative paths start there.

    Raises:
        CasPLError: the file cannot be read, lacks a column, holds an image twice or one outside the root, or tells the
            split of some images only.
    """
    rows = _rows(path)
    image, classname = (_column(path, rows, names) for names in (PATH_COLUMNS, CLASS_COLUMNS))
    declared = any("split" in row for row in rows)  # the objects of a JSON list may differ
    found: dict[str, Found] = {}
    for number, row in enumerate(rows, start=1):
        where = f"{path}, row {number}"
        below = inside(root, row.get(image, ""), where)
        if not row.get(classname):
            raise CasPLError(f"{where}: the column {classname} is empty")
        part = PARTS.get(row.get("split", "").lower(), "")
        if not part and declared:
            raise CasPLError(f"{where}: the split is train, val or test, not {row.get('split', '')!r}")
        if below in found:
            raise CasPLError(f"{where}: the image {below} is listed twice")
        found[below] = Found(below, row[classname], part)
    return list(found.values())


def read_paths(path: Path, root: Path) -> list[str]:
    """Read the images of a list, relative to ``root``; a ``.txt`` file has a path on each line.

    Raises:
        CasPLError: the file cannot be read, has no paths, or names an image outside the root.
    """
    rows = _rows(path)
    image = _column(path, rows, PATH_COLUMNS)
    return [inside(root, row.get(image, ""), f"{path}, row {number}") for number, row in enumerate(rows, start=1)]


def read_names(path: Path) -> dict[str, str]:
    """Read class names by folder: a JSON object, or lines of a folder, a tab (or else a space), and the name.

    Raises:
        CasPLError: the file cannot be read, a folder has no name, or it has two.
    """
    text = _text(path)
    pairs: list[Any]
    if path.suffix.lower() == ".json":
        content = _json(path, text)
        pairs = list(content.items()) if isinstance(content, dict) else [("", "")]
    else:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        pairs = [(line.split("\t" if "\t" in line else None, 1) + [""])[:2] for line in lines]
    names: dict[str, str] = {}
    for folder, name in pairs:
        if not isinstance(name, str) or not name.strip():
            raise CasPLError(
                f"{path} must be a JSON object folder: name, or lines 'folder name'; {folder!r} has no name"
            )
        if names.setdefault(folder.strip(), name.strip()) != name.strip():
            raise CasPLError(f"{path} has two names for {folder.strip()!r}")
    return names


def is_split(path: Path) -> bool:
    """Whether a file has the form of CoOp's split files: a JSON object, not a list."""
    return path.suffix.lower() == ".json" and isinstance(_json(path, _text(path)), dict)


def is_list(path: Path) -> bool:
    """Whether a table has columns of paths and classes, whatever is in them."""
    try:
        rows = _rows(path)
        _column(path, rows, PATH_COLUMNS)
        _column(path, rows, CLASS_COLUMNS)
    except CasPLError:
        return False
    return True


def inside(root: Path, path: str, where: str) -> str:
    """A path relative to the root.

    Raises:
        CasPLError: it is empty or leads out of the root.
    """
    if "\0" in path:
        raise CasPLError(f"{where}: {path!r} is no file name")
    below = os.path.relpath(os.path.join(root, path.replace("\\", "/")), root)
    if not path or below == os.curdir or below.split(os.sep)[0] == os.pardir:
        raise CasPLError(
            f"{where}: {path!r} is no file below {root}: paths are relative to this folder, or lead into it"
        )
    return Path(below).as_posix()


def _rows(path: Path) -> list[Row]:
    """The rows of a list by lower-case column; lines of text and strings in JSON are paths alone."""
    text = _text(path)
    match path.suffix.lower():
        case ".csv" | ".tsv" as suffix:
            content = _table(path, text, suffix)
        case ".json":
            content = _json(path, text)
        case ".txt":
            content = [line for line in text.splitlines() if line.strip()]
        case _:
            raise CasPLError(f"{path} must be a .csv, .tsv, .json or .txt file")
    if not isinstance(content, list) or not content:
        raise CasPLError(f"{path} lists no image")
    rows = [row if isinstance(row, dict) else {"path": row} for row in content]
    return [
        {str(key).strip().lower(): str("" if value is None else value).strip() for key, value in row.items()}
        for row in rows
    ]


def _table(path: Path, text: str, suffix: str) -> Any:
    head = text.partition("\n")[0]
    delimiter = "\t" if suffix == ".tsv" else max(",;\t", key=head.count)
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise CasPLError(f"{path} is no table ({error})") from error
    for number, row in enumerate(rows, start=1):
        if None in row:  # where the reader puts what is left over
            raise CasPLError(f"{path}, row {number} has more cells than the first line: put quotes around commas")
    return rows


def _column(path: Path, rows: list[Row], names: tuple[str, ...]) -> str:
    for name in names:
        if name in rows[0]:
            return name
    raise CasPLError(f"{path} has no column {' or '.join(names)}; it has {', '.join(rows[0]) or 'none'}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CasPLError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise CasPLError(f"{path} is not encoded in UTF-8: save it so") from error


def _json(path: Path, text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise CasPLError(f"{path} is no JSON ({error})") from error
