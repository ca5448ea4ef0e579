"""``python -m caspl.store {build,info,verify}``: kept features of a frozen encoder on disk."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from caspl.errors import CasPLError
from caspl.results.tables import print_text
from caspl.store.store import Store

TRAIN = Path(__file__).resolve().parents[2] / "train.py"


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = argparse.ArgumentParser(
        prog="python -m caspl.store",
        description="Build, describe and check stores of a frozen encoder's image features.",
        epilog="Exit codes: 0 all is well, 2 wrong input or a damaged store.",
    )
    commands = made.add_subparsers(dest="command", required=True)
    building = commands.add_parser(
        "build",
        help="make what is missing",
        description="Make the features that a run would take, without training. Give train.py's own "
        "arguments, TRAINER.CASPL.STORE and TRAINER.CASPL.VIEWS among them. What was killed goes on.",
    )
    building.add_argument("--root", dest="unused", metavar="DIR", help="and all else that train.py takes")
    for name, what in (("info", "say what a store holds"), ("verify", "read every shard and compare checksums")):
        one = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        one.add_argument("folder", type=Path, help="of a store, or of several")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    building = given[:1] == ["build"] and not {"-h", "--help"} & set(given)
    options = parser().parse_args(given[:1] if building else given)
    try:
        if building:
            return _build(given[1:])  # as they are: they are train.py's
        for folder in _stores(options.folder):
            print_text(_verified(folder) if options.command == "verify" else _described(folder))
    except CasPLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _build(arguments: list[str]) -> int:
    if not TRAIN.is_file():
        raise CasPLError(f"building needs the checkout's train.py, and there is no {TRAIN}: run it in a checkout")
    return subprocess.run([sys.executable, str(TRAIN), "--build-store", *arguments], check=False).returncode


def _stores(folder: Path) -> list[Path]:
    found = sorted(path.parent for path in folder.rglob("store.json"))
    if not found:
        raise CasPLError(f"there is no store in {folder}: name the folder that holds store.json, or one above it")
    return found


def _described(folder: Path) -> str:
    store = Store.there(folder)
    lines = [f"{folder}: {len(store):,} views, {store.size:,} bytes"]
    lines += [f"  {key}: {value}" for key, value in asdict(store.header).items()]
    return "\n".join(lines) + "\n"


def _verified(folder: Path) -> str:
    return f"{folder}: {Store.there(folder).verify():,} views hold\n"


if __name__ == "__main__":
    sys.exit(main())
