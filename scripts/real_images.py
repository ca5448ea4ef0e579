"""Folders of pictures that this project has not drawn: handwritten digits, and the emoji of two vendors.

python scripts/real_images.py digits FOLDER
python scripts/real_images.py emoji FOLDER --vendor google --archives DIR

The digits are scikit-learn's (BSD). The emoji are those of the npm packages emoji-datasource-twitter (Twemoji,
CC BY 4.0) and emoji-datasource-google (Noto, Apache 2.0).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from caspl.errors import CasPLError, first_line
from caspl.files import write_json
from caspl.tiny import colours, shapes

VERSION = "16.0.0"
SHA256 = {
    "twitter": "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
    "google": "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
}
"""Of the packages whose SHA-512 the registry publishes: another version has other pictures, and other classes."""

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PIXELS = 32
"""Of an enlarged digit: what the tiny CLIPs look at."""

FEWEST = 16
"""Images of the smallest class of emoji."""

NEAR_DUPLICATES = ("country-flag", "family")
"""Subcategories with equal pictures under several names, which would stand in training and test."""

Pictures = Iterable[tuple[str, Image.Image]]
"""RGB pictures with their path, ``<class>/<name>.png``."""


def digits() -> Pictures:
    """The 1,797 digits of 8 x 8 pixels, enlarged.

    Raises:
        CasPLError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise CasPLError("the digits need scikit-learn: pip install scikit-learn") from error
    data = load_digits()
    for number, (grey, digit) in enumerate(zip(data.images, data.target, strict=True)):
        picture = Image.fromarray((grey * (255 / 16)).astype(np.uint8))
        enlarged = picture.resize((PIXELS, PIXELS), Image.Resampling.BICUBIC).convert("RGB")
        yield f"{DIGITS[digit]}/{number:04d}.png", enlarged


def emoji(archive: Path, vendor: str) -> Pictures:
    """One picture of each emoji, 64 x 64 on white; the class is the subcategory.

    Skin tones of one emoji are near-duplicates: only the plain one is taken. Both vendors draw the same emoji under the
    same paths, so that folders of the two are split alike.

    Args:
        archive: the npm package of this vendor.
        vendor: "twitter" or "google".
    """
    with tarfile.open(archive) as tar:
        listed = tar.extractfile("package/emoji.json")
        assert listed is not None  # tarfile has raised KeyError where there is none
        entries = [entry for entry in json.load(listed) if entry[f"has_img_{vendor}"]]
        sizes = Counter(entry["subcategory"] for entry in entries)
        paths = {
            f"package/img/{vendor}/64/{entry['image']}": f"{entry['subcategory'].replace('-', ' ')}/{entry['image']}"
            for entry in entries
            if sizes[entry["subcategory"]] >= FEWEST and entry["subcategory"] not in NEAR_DUPLICATES
        }
        for member in tar:  # in the archive's order: it cannot be read backwards but from its start
            content = tar.extractfile(member) if member.name in paths else None
            if content is not None:
                yield paths[member.name], on_white(Image.open(content))


def on_white(picture: Image.Image) -> Image.Image:
    """RGB, with white where the picture lets it through."""
    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def stand_in_names(classes: Iterable[str]) -> dict[str, str]:
    """A name for each class from words that the tiny CLIPs know, which has nothing to do with the class.

    To them all words that they do not know are one and the same, so that no class could be told from another.
    """
    names = [" ".join(words) for words in product(colours.NAMES, shapes.NAMES)]
    random.Random(0).shuffle(names)
    return dict(zip(sorted(classes), names, strict=False))


def write_folder(folder: Path, pictures: Pictures) -> Path:
    """Write the pictures and ``names.json``, the stand-in names of their classes.

    The folder is there whole or not at all, and one that is there is left alone.

    Raises:
        CasPLError: the disk is full or the folder cannot be written.
    """
    if folder.exists():
        print(f"{folder} is there already")
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            made = Path(temporary, folder.name)
            sizes: Counter[str] = Counter()
            for path, picture in pictures:
                (made / path).parent.mkdir(parents=True, exist_ok=True)
                picture.save(made / path)
                sizes[Path(path).parent.name] += 1
            write_json(made / "names.json", stand_in_names(sizes))
            os.replace(made, folder)
    except OSError as error:
        raise CasPLError(f"cannot write {folder}: {error.strerror or error}") from error
    print(f"{folder}: {sizes.total()} images of {len(sizes)} classes")
    return folder


def package(vendor: str, folder: Path) -> Path:
    """The npm package of a vendor's emoji, ``<folder>/emoji-datasource-<vendor>-<version>.tgz``; npm gets it.

    Raises:
        CasPLError: npm is not there or fails, or the file is not the published one.
    """
    name = f"emoji-datasource-{vendor}"
    archive = folder / f"{name}-{VERSION}.tgz"
    if not archive.exists():
        command = ["npm", "pack", f"{name}@{VERSION}", "--pack-destination", str(folder)]
        print(" ".join(command), flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as error:
            raise CasPLError(
                f"{archive} is not there, and npm cannot get it ({first_line(error)}): run `npm pack {name}@{VERSION}` "
                "where it can, and name the folder with --archives"
            ) from error
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256[vendor]:
        raise CasPLError(f"{archive} is not the published package (its SHA-256 differs): delete it")
    return archive


def _emoji_package(vendor: str, archives: Path) -> Iterator[tuple[str, Image.Image]]:
    """Late, so that a folder that is there needs no package."""
    yield from emoji(package(vendor, archives), vendor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code: 0, or 2 for wrong input."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("source", choices=("digits", "emoji"))
    p.add_argument("folder", type=Path, metavar="FOLDER", help="where to write <class>/<name>.png")
    p.add_argument("--vendor", choices=tuple(SHA256), default="twitter", help="of the emoji (default: twitter)")
    p.add_argument("--archives", type=Path, metavar="DIR", help="where the packages lie or come (default: beside)")
    args = p.parse_args(arguments)
    try:
        archives = args.archives or args.folder.parent
        write_folder(args.folder, digits() if args.source == "digits" else _emoji_package(args.vendor, archives))
    except CasPLError as error:
        print("error:", error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
