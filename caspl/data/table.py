"""What there is: a table of the published data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from caspl.data.arrange import missing_parts
from caspl.data.published import MIRROR, Published
from caspl.data.split import LISTS
from caspl.results.tables import MISSING, Table

NOTE = (
    "Train has no images where a set is for tests only; ImageNet's val is its test list. GB: about the size of the "
    f"archives. Mirror: https://huggingface.co/{MIRROR}, which has all but ImageNet."
)


def table(chosen: Sequence[Published], root: Path | None = None) -> Table:
    """One line a data set; with a data root also what is there."""
    columns = [
        "name",
        "config",
        "classes",
        *(f"{part:>9}" for part in LISTS),
        "GB",
        "images from",
        "split",
        "images in",
    ]
    rows = [_line(published) for published in chosen]
    if root is not None:
        columns.append("there")
        rows = [[*row, _there(published, root)] for row, published in zip(rows, chosen, strict=True)]
    return Table("Published data sets", columns, rows)


def by_hand(chosen: Sequence[Published]) -> str:
    """Where the archives are to be had with a browser, a line each."""
    return "\n".join(f"- {published.name}: {published.archive}, from {published.home}" for published in chosen)


def _line(published: Published) -> list[str]:
    counts = [f"{count:,}" if count else MISSING for count in published.counts]
    return [
        published.name,
        published.stem,
        f"{published.classes:>7,}",
        *(f"{count:>9}" for count in counts),
        f"{published.gigabytes:g}",
        _source(published),
        "file" if published.split_file else "official",
        "/".join(filter(None, (published.folder, published.images))),
    ]


def _source(published: Published) -> str:
    if published.name == "ImageNet":
        return "by hand"
    return "torchvision, mirror" if published.torchvision else "mirror"


def _there(published: Published, root: Path) -> str:
    folder = root / published.folder
    if not folder.is_dir():
        return MISSING
    if missing_parts(published, root):
        return "images missing"
    if published.split_file and not (folder / published.split_file).is_file():
        return "split file missing"
    return "yes"
