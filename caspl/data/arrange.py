"""From what archives and libraries leave on disk to the layout of CoOp: by links, or by moves within the data root."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from caspl.data.official import CLASSNAMES
from caspl.data.published import Published
from caspl.errors import CasPLError


@dataclass(frozen=True)
class Form:
    """What a data set consists of, and where that lies before it is arranged.

    Attributes:
        needed: files and folders without which it is not there; below its folder.
        useful: others, from which a missing split could be made.
        left_in: folders of another name in which torchvision or the archive leaves them.
        called: other names of some of them.
    """

    needed: tuple[str, ...]
    useful: tuple[str, ...] = ()
    left_in: tuple[str, ...] = ()
    called: dict[str, tuple[str, ...]] = field(default_factory=dict)


AIRCRAFT_LISTS = ("variants.txt", *(f"images_variant_{part}.txt" for part in ("train", "val", "test")))
SUN_LISTS = ("ClassName.txt", "Training_01.txt", "Testing_01.txt")

FORMS = {
    "ImageNet": Form(("images/train", "images/val"), called={"images/train": ("train",), "images/val": ("val",)}),
    "Caltech101": Form(("101_ObjectCategories",), left_in=("caltech101",)),
    "OxfordPets": Form(("images",), ("annotations",), left_in=("oxford-iiit-pet",)),
    "StanfordCars": Form(("cars_train", "cars_test"), ("devkit", "cars_test_annos_withlabels.mat")),
    "OxfordFlowers": Form(("jpg",), ("imagelabels.mat", "cat_to_name.json"), left_in=("flowers-102",)),
    "Food101": Form(("images",), left_in=("food101",)),
    "FGVCAircraft": Form(("images", *AIRCRAFT_LISTS), left_in=("fgvc-aircraft-2013b/data", "data")),
    "SUN397": Form(("SUN397",), SUN_LISTS, left_in=("",), called={name: (f"SUN397/{name}",) for name in SUN_LISTS}),
    "DescribableTextures": Form(("images",), ("labels",), left_in=("dtd/dtd",)),
    "EuroSAT": Form(("2750",), called={"2750": ("EuroSAT_RGB",)}),
    "UCF101": Form(("UCF-101-midframes",), ("ucfTrainTestlist",)),
    "ImageNetV2": Form(
        ("imagenetv2-matched-frequency-format-val",),
        left_in=("",),
        called={"imagenetv2-matched-frequency-format-val": ("imagenetv2-matched-frequency",)},
    ),
    "ImageNetSketch": Form(("images",), called={"images": ("sketch",)}),
    "ImageNetA": Form(("imagenet-a",), left_in=("",)),
    "ImageNetR": Form(("imagenet-r",), left_in=("",)),
}


def missing_parts(published: Published, root: Path) -> list[str]:
    """The paths of what the data set needs and lacks, or has one folder too deep."""
    paths = [root / published.folder / part for part in FORMS[published.name].needed]
    return [str(path) for path in paths if not is_there(path) or is_there(_nested(path))]


def is_there(path: Path) -> bool:
    """Whether there is a file, or a folder that holds something."""
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _nested(path: Path) -> Path:
    return path / path.name


def arrange(published: Published, root: Path, place: Path, move: bool = False) -> bool:
    """Put what the data set lacks into its folder, if ``place`` has all of that in one of the known forms.

    Whatever is there already stays. Each part comes whole or not at all, so that the same call can go on later.

    Args:
        published: the data set.
        root: the data root.
        place: where to look: a folder of the user's, the root itself, or what was downloaded.
        move: move instead of linking; for what the command itself has unpacked.

    Returns:
        Whether the data set has all that it needs now.

    Raises:
        CasPLError: a link leads nowhere, or an archive was unpacked in the folder that it brings itself.
        OSError: something cannot be written.
    """
    form = FORMS[published.name]
    target = root / published.folder
    for path in (_nested(target / part) for part in form.needed):
        if is_there(path):
            raise CasPLError(f"{path} lies one folder too deep: move what it holds to {path.parent}, and remove it")
    wanted = [part for part in form.needed if not is_there(target / part)]
    if not wanted:
        return True
    for part in wanted:
        if (target / part).is_symlink():
            gone = "is empty" if (target / part).exists() else "is not there"
            link = f"{target / part} links to {os.readlink(target / part)}, which {gone}"
            raise CasPLError(f"{link}: remove the link or bring that back")
    for home in _homes(published, root, place):
        found = {part: _find(home, part, form, target) for part in wanted}
        if all(found.values()):
            useful = [part for part in (*form.useful, published.split_file, CLASSNAMES) if part]
            found |= {part: _find(home, part, form, target) for part in useful if not os.path.lexists(target / part)}
            # What is needed comes last: once that is there, nothing is looked for any more.
            for part in sorted(found, key=wanted.__contains__):
                source = found[part]
                if source:
                    _put(source, target / part, root, move)
            return True
    return False


def _homes(published: Published, root: Path, place: Path) -> Iterator[Path]:
    form = FORMS[published.name]
    # In the data root itself, other sets have folders of the same names, such as images.
    names = ("", published.folder) if place != root else (published.folder,)
    for name in (*names, *form.left_in):
        yield place / name
    # The place may be one of the parts, such as .../SUN397.
    if place != root and place.name in (*form.needed, *chain(*form.called.values())):
        yield place.parent


def _find(home: Path, part: str, form: Form, target: Path) -> Path | None:
    for name in (*form.called.get(part, ()), part):
        # Kaggle's copy of the cars has each folder in one of the same name, as has what was unpacked in place.
        for source in (_nested(home / name), home / name):
            # The second half is for file systems that ignore case, where SUN397 is sun397.
            if is_there(source) and not (target.exists() and source.samefile(target)):
                return source
    return None


def _put(source: Path, target: Path, root: Path, move: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():  # an empty one, or it would not be wanted
        os.rmdir(target)
    if move:
        try:
            os.rename(source, target)
            return
        except OSError as error:
            # The data set's folder may be a link to another disk: copied under another name first, to come whole.
            if error.errno != errno.EXDEV:
                raise
            partial = target.with_name(f".{target.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.move(source, partial)
            os.rename(partial, target)
            return
    source, folder, root = source.resolve(), target.parent.resolve(), root.resolve()
    # Relative within the root, so that it may be moved as a whole.
    inside = source.is_relative_to(root) and folder.is_relative_to(root)
    os.symlink(os.path.relpath(source, folder) if inside else source, target)
