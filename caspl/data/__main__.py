"""``python -m caspl.data {list,check,prepare}``: the published data sets on disk."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from caspl.data.check import check
from caspl.data.prepare import SOURCES, Plan, prepare
from caspl.data.published import PUBLISHED, Published, find_published
from caspl.data.table import NOTE, by_hand, table
from caspl.errors import CasPLError
from caspl.results.tables import FORMATS, print_text


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="python -m caspl.data",
        description="List, check and get the fifteen published data sets; check a folder of your own.",
        epilog="Exit codes: 0 all is well, 1 something is missing or wrong, 2 wrong input.",
    )
    commands = made.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="names, folders, sizes, sources", description="List the data sets.")
    listing.add_argument("names", nargs="*", default=["all"], metavar="NAME", help="(default: all)")
    listing.add_argument("--root", type=_path, metavar="DIR", help="the data root: show also what is there")
    listing.add_argument("--by-hand", action="store_true", help="say where the files are to be had with a browser")
    listing.add_argument("--format", choices=("text", "markdown"), default="text", help="(default: text)")

    checking = commands.add_parser(
        "check",
        help="compare with what is published",
        description="Compare split files, class names and counts with the published ones and look for every image. "
        "A folder of your own, in a checkout: say what its classes are called, decode every picture, and look for "
        "identical ones. Nothing is written.",
    )
    _add_names_and_root(checking)
    checking.add_argument("--decode", action="store_true", help="also decode every image, which takes minutes")
    checking.add_argument(
        "--dataset-config-file", metavar="YAML", help="of a folder of your own (default: configs/datasets/folder.yaml)"
    )
    checking.add_argument("--plugin", metavar="FILE", help="with a data set of your own below the folder")
    checking.add_argument(
        "--set", nargs="+", default=[], metavar="KEY VALUE", help="of a folder of your own, as of train.py"
    )

    preparing = commands.add_parser(
        "prepare",
        help="download and arrange",
        description="Download what is missing, arrange it as CoOp does, and check the result. What is there is linked "
        "or left alone; nothing of yours is deleted. A command that was killed goes on when it is run again.",
    )
    _add_names_and_root(preparing)
    preparing.add_argument(
        "--from",
        dest="given",
        nargs="+",
        type=_path,
        default=[],
        metavar="PATH",
        help="archives that you have, or the folder of the unpacked files, which is linked",
    )
    preparing.add_argument("--split", type=_path, metavar="PATH", help="the split file, or a folder of split files")
    preparing.add_argument(
        "--source", choices=SOURCES, default="auto", help="where to download images (default: torchvision, else mirror)"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, 1 where something is missing or wrong, 2 for wrong input."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "check":
            return _check(options)
        chosen = _chosen(options.names)
        if options.command == "list":
            return _list(chosen, options)
        return _prepare(chosen, options)
    except CasPLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _list(chosen: list[Published], options: argparse.Namespace) -> int:
    _require_root(options.root)
    note = NOTE + ("\n\n" + by_hand(chosen) if options.by_hand else "")
    print_text(FORMATS[options.format]([table(chosen, options.root)], note))
    return 0


def _check(options: argparse.Namespace) -> int:
    own = [name for name in options.names if _is_own(name)]
    names = [name for name in options.names if name not in own]
    try:
        chosen = _chosen(names) if names else []
    except CasPLError as error:
        raise CasPLError(f"{error}; nor is there a folder of that name") from error
    if chosen:
        _require_root(options.root)
    codes = [_report(published, check(published, options.root, options.decode)) for published in chosen]
    return max([*codes, *(_check_own(name, options) for name in own)])


def _check_own(folder: str, options: argparse.Namespace) -> int:
    """Let the checkout, which knows what a folder may hold, look at one; returns its exit code."""
    from caspl.commands.stages import Checkout

    checkout = Checkout.here("a folder of your own is read by the data sets beside train.py")
    words = ["--dataset-config-file", options.dataset_config_file] if options.dataset_config_file else []
    words += ["--plugin", options.plugin] if options.plugin else []
    call = [sys.executable, str(checkout.root / "scripts/check_folder.py"), folder, *words, *options.set]
    sys.stdout.flush()
    return subprocess.run(call, check=False).returncode


def _is_own(name: str) -> bool:
    """Whether a folder is meant, and no data set of that name."""
    if name == "all" or not Path(name).expanduser().is_dir():
        return False
    try:
        find_published(name)
    except CasPLError:
        return True
    return os.sep in name


def _prepare(chosen: list[Published], options: argparse.Namespace) -> int:
    for path in (*options.given, *([options.split] if options.split else [])):
        if not path.exists():
            raise CasPLError(f"there is no {path}: see --from and --split")
    if len(chosen) > 1 and (options.given or (options.split and options.split.is_file())):
        raise CasPLError("--from, and --split with a file, are for one data set: prepare one by one")
    try:
        options.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CasPLError(f"the data root {options.root} cannot be made ({error.strerror}): see --root") from error
    plan = Plan(options.root, tuple(options.given), options.split, options.source)
    return max([_report(published, prepare(published, plan)) for published in chosen])


def _report(published: Published, findings: list[str]) -> int:
    """Say how a data set stands; returns its part of the exit code."""
    for finding in findings:
        print_text(f"{published.name}: {finding}\n")
    if not findings:
        train, val, test = published.counts
        images = f"{test:,} images" if published.test_only else f"{train:,} / {val:,} / {test:,} images"
        print_text(f"{published.name}: as published, {published.classes:,} classes, {images}\n")
    return 1 if findings else 0


def _chosen(names: Sequence[str]) -> list[Published]:
    if "all" in names:
        return list(PUBLISHED.values())
    return list(dict.fromkeys(find_published(name) for name in names))


def _add_names_and_root(made: argparse.ArgumentParser) -> None:
    made.add_argument("names", nargs="+", metavar="NAME", help="such as EuroSAT or eurosat, or all; check: or a folder")
    default = _path(os.environ.get("DATA", "data"))
    made.add_argument("--root", type=_path, default=default, metavar="DIR", help="(default: $DATA, else data)")


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _require_root(root: Path | None) -> None:
    if root is not None and not root.is_dir():
        raise CasPLError(f"there is no data root {root}: give it with --root DIR or $DATA")


if __name__ == "__main__":
    sys.exit(main())
