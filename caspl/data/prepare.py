"""Getting a data set: images, split file, class names. Each step is skipped where its result is there already."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from caspl.data import fetch
from caspl.data.arrange import arrange, is_there, missing_parts
from caspl.data.check import check, check_content, check_counts
from caspl.data.listing import image_files
from caspl.data.official import CLASSNAMES, classnames_text, has_classnames, packaged_classnames
from caspl.data.published import Published
from caspl.data.split import read_split
from caspl.errors import CasPLError
from caspl.files import write_atomically

SOURCES = ("auto", "torchvision", "mirror")


@dataclass(frozen=True)
class Plan:
    """What the user asks for.

    Attributes:
        root: the data root.
        given: archives or folders that the user has.
        split: a split file that the user has, or a folder of them.
        source: where to download images from: one of ``SOURCES``.
    """

    root: Path
    given: tuple[Path, ...] = ()
    split: Path | None = None
    source: str = "auto"


def prepare(published: Published, plan: Plan) -> list[str]:
    """Get what is missing, and check the result.

    Returns:
        What remains to be done, one sentence each; empty if the data set is ready.
    """
    remains = []
    for step in (_images, _sorted_val, _split, _classnames):
        try:
            step(published, plan)
        except CasPLError as error:
            remains.append(str(error))
        except OSError as error:
            remains.append(f"{error.filename or plan.root} cannot be written: {error.strerror or error}")
    return remains or check(published, plan.root)


def _images(published: Published, plan: Plan) -> None:
    if missing_parts(published, plan.root):
        with fetch.alone(published, plan.root):
            _get_images(published, plan)


def _get_images(published: Published, plan: Plan) -> None:
    root = plan.root
    for place in (root, *(path for path in plan.given if path.is_dir())):
        if arrange(published, root, place):
            return
    staging = fetch.staging_folder(published, root)
    how, needed = _fetch(published, plan)
    fetch.fetch_into(staging, how, needed)
    for place in (staging, staging / "unpacked"):
        arrange(published, root, place, move=True)
    # It is no longer complete.
    fetch.marker(staging).unlink()
    missing = missing_parts(published, root)
    if missing:
        raise CasPLError(f"what was unpacked in {staging} holds nothing for {', '.join(missing)}")
    print(f"{published.name}: the images are in place; what is left in {staging} may be deleted")


def _fetch(published: Published, plan: Plan) -> tuple[fetch.Fetch, float]:
    """How to get the images, and the gigabytes that this takes; unpacked images take what their archives take."""
    archives = [path for path in plan.given if path.is_file()]
    if published.name == "ImageNet":
        here = plan.root / published.folder / published.images
        parts = [part for part in fetch.IMAGENET if not is_there(here / part)]
        places = {path.name: path for path in archives}
        archives = [places.get(name, here / name) for name in (*(fetch.IMAGENET[part] for part in parts), fetch.DEVKIT)]
        if not all(path.is_file() for path in archives):
            raise CasPLError(f"the images cannot be downloaded: {published.by_hand}; or put the archives in {here}")
        return fetch.from_imagenet_archives(published, parts, archives), _gigabytes(archives)
    if archives:
        return fetch.from_archives(published, archives), _gigabytes(archives)
    if plan.given:
        folders = ", ".join(map(str, plan.given))
        raise CasPLError(f"{folders} holds nothing for {', '.join(missing_parts(published, plan.root))}")
    if plan.source == "torchvision" and not published.torchvision:
        raise CasPLError("torchvision does not download it: leave --source out, or name mirror")
    if published.torchvision and plan.source != "mirror":
        return fetch.from_torchvision(published), 2 * published.gigabytes
    return fetch.from_mirror(published), 2 * published.gigabytes


def _gigabytes(paths: Sequence[Path]) -> float:
    return sum(path.stat().st_size for path in paths) / 1e9


def _sorted_val(published: Published, plan: Plan) -> None:
    """Sort ImageNet's validation images into class folders, where the user's are in one flat folder, as archived."""
    folder = plan.root / published.folder / published.images
    val = folder / "val"
    flat = image_files(val) if published.name == "ImageNet" and val.is_dir() else []
    if not flat:
        return
    unsorted = f"the images in {val} are not sorted into class folders"
    if not val.resolve().is_relative_to(plan.root.resolve()):
        raise CasPLError(f"{unsorted}, and nothing is moved outside {plan.root}: give the archives with --from")
    kits = [path for path in (*plan.given, folder / fetch.DEVKIT) if path.name == fetch.DEVKIT and path.is_file()]
    if not kits:
        raise CasPLError(f"{unsorted}: put {fetch.DEVKIT} in {folder} and run the command again")
    wnids = fetch.val_wnids(published, kits[0])
    # The number in the name tells which image it is, also where a killed run has sorted others already.
    moves = {val / name: val / wnids[number - 1] / name for number, name in _numbered(flat, len(wnids))}
    for source, target in moves.items():
        if os.path.lexists(target):
            raise CasPLError(f"{source} belongs to {target}, which is there already: remove one of them")
    for source, target in moves.items():
        target.parent.mkdir(exist_ok=True)
        os.rename(source, target)


def _numbered(names: list[str], count: int) -> list[tuple[int, str]]:
    """Validation images with their numbers from 1: ILSVRC2012_val_00000001.JPEG is the first."""
    found = []
    for name in names:
        match = re.fullmatch(r"ILSVRC2012_val_(\d+)\.JPEG", name)
        if not match or not 1 <= int(match[1]) <= count:
            raise CasPLError(f"among ImageNet's validation images, {name} is not called like one of them: remove it")
        found.append((int(match[1]), name))
    return found


def _split(published: Published, plan: Plan) -> None:
    target = plan.root / published.folder / published.split_file
    if not published.split_file or target.exists():
        return

    def accept(path: Path, way_out: str = "") -> None:
        split = read_split(path)
        counts = "; ".join(check_counts(published, split))
        if counts or check_content(published, path, split):
            reason = f" ({counts})" if counts else ""
            raise CasPLError(f"{path} is not the published split{reason}{way_out}")

    with tempfile.TemporaryDirectory() as folder:
        if plan.split is not None:
            path = _given_split(published, plan.split)
            accept(path, ": name another, or leave --split out to fetch it")
        else:
            path = Path(folder, published.split_file)
            fetch.download_file(published.split_urls, path, accept)
        write_atomically(target, lambda temporary: shutil.copyfile(path, temporary))
    print(f"{published.name}: the split file is in place")


def _given_split(published: Published, given: Path) -> Path:
    if given.is_file():
        return given
    for path in (given / published.split_file, given / published.folder / published.split_file):
        if path.is_file():
            return path
    raise CasPLError(f"there is no {published.split_file} in {given}, nor in {given / published.folder}")


def _classnames(published: Published, plan: Plan) -> None:
    target = plan.root / published.folder / CLASSNAMES
    if has_classnames(published.name) and target.parent.is_dir() and not target.exists():
        text = classnames_text(dict(packaged_classnames()))
        write_atomically(target, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))
