"""What training would find in a folder of one's own pictures; `caspl data check DIR` calls it. Nothing is written.

    python scripts/check_folder.py my_images DATASET.FOLDER.CLASSNAMES names.json

Exit codes: 0 all is well, 1 something is wrong, 2 wrong input.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the library beside which train.py stands, not another
import datasets  # noqa: F401  registers
import train
from caspl.data.look import TEST, TRAIN, Findings, Labelled, Seen, look_at, report
from caspl.errors import CasPLError
from caspl.predictor.images import pictures_below
from caspl.prompts.templates import DEFAULT_TEMPLATE, checked, fill
from caspl.towers import tokenize
from dassl.data.datasets import DATASET_REGISTRY
from datasets.protocol import Entry
from datasets.protocol.assign import ANEW
from datasets.protocol.fewshot import say_few
from trainers.config import build_cfg
from trainers.user_modules import load_plugins

CONFIG = Path(__file__).resolve().parents[1] / "configs/datasets/folder.yaml"


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("root", type=Path, metavar="DIR", help="as --root of train.py")
    p.add_argument("--dataset-config-file", default=str(CONFIG), metavar="YAML", help="(default: Folder's)")
    p.add_argument("--plugin", action="append", default=[], metavar="FILE", help="with a data set of your own")
    p.add_argument("--json", type=Path, metavar="FILE", help="write what was found there, and say nothing")
    p.add_argument("--shots", type=int, default=-1, metavar="K", help="note classes with fewer training pictures")
    p.add_argument("opts", nargs="*", metavar="KEY VALUE", help="as of train.py, e.g. DATASET.FOLDER.LIST labels.csv")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_intermixed_args(arguments)
    try:
        root = Path(os.path.abspath(options.root.expanduser()))
        if not root.is_dir():
            raise CasPLError(f"there is no folder of pictures {options.root}")
        given = ["--root", str(root), "--dataset-config-file", options.dataset_config_file]
        given += [word for path in options.plugin for word in ("--plugin", path)]
        args = train.parser().parse_args([*given, *options.opts])
        cfg = build_cfg(args, load_plugins(args.plugin))
        template = checked(cfg.DATASET.TEMPLATE or DEFAULT_TEMPLATE)
        if options.json:
            found = survey(cfg, root, template, options.shots)
            options.json.write_text(json.dumps(found), encoding="utf-8")
            return 1 if found["faults"] or found["broken"] else 0
        logging.basicConfig(format="note: %(message)s", level=logging.WARNING)
        try:
            lists, names = arranged(cfg)
        except CasPLError as error:
            print(f"fault: {error}")
            _say(*_looked({"": [Labelled(str(path)) for path in pictures_below(root)]}, root))
            return 1
    except CasPLError as error:
        if options.json:
            options.json.write_text(json.dumps({"error": str(error), "anew": ANEW}), encoding="utf-8")
        else:
            print(f"error: {error}", file=sys.stderr)
        return 2
    sizes = ", ".join(f"{len(pictures):,} {name}" for name, pictures in lists.items())
    print(f"{len(names)} classes, pictures: {sizes}")
    counts = Counter((one.classname, part) for part, pictures in lists.items() for one in pictures)
    for name, text in zip(names, fill(template, names), strict=True):
        has = ", ".join(f"{counts[name, part]} {part}" for part in lists if counts[name, part])
        print(f"  {name}: “{text}” ({has})")
    faults = _too_long(fill(template, names))
    found, seen = _looked(lists, root)
    faults += found.faults
    _say(Findings(faults, found.notes), seen)
    return 1 if faults else 0


def survey(cfg: Any, root: Path, template: str, shots: int) -> dict[str, Any]:
    """All that a look finds, for another program.

    Returns:
        ``classes``, their names; ``lists``, how many pictures are in which; ``broken``, a sentence for each picture
        that cannot be read; ``faults``, the others, and ``notes``; ``anew``, the advice where a split is to be made
        anew.

    Raises:
        CasPLError: as a run would put it.
    """
    heard = _Heard()
    logging.getLogger().addHandler(heard)
    try:
        lists, names = arranged(cfg)
        places = {name: place for place, name in enumerate(names)}
        say_few([Entry(one.path, places[one.classname], one.classname) for one in lists.get(TRAIN, [])], shots)
    finally:
        logging.getLogger().removeHandler(heard)
    for sentence in _too_long(fill(template, names)):
        raise CasPLError(sentence)
    found, seen = _looked(lists, root)
    broken = [one.fault for one in seen if one.fault]
    return {
        "classes": names,
        "lists": {name: len(pictures) for name, pictures in lists.items()},
        "broken": broken,
        "faults": found.faults[len(broken) :],
        "notes": [*heard.sentences, *found.notes],
        "anew": ANEW,
    }


class _Heard(logging.Handler):
    """Keeps warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.sentences.append(record.getMessage())


def arranged(cfg: Any) -> tuple[dict[str, list[Labelled]], list[str]]:
    """The pictures of each list, and the class names, as a run would have them.

    Raises:
        CasPLError: as a run would put it.
    """
    known = DATASET_REGISTRY.get(cfg.DATASET.NAME)
    # A look must not fix the split: pictures may have to be mended first.
    found = type(known.__name__, (known,), {"keep": lambda *_: None})(cfg)
    parts = {TRAIN: found.train_x, "val": found.val or [], TEST: found.test, "unlabelled": found.train_u or []}
    if getattr(found, "test_only", False):
        del parts[TRAIN]
    if cfg.TEST.NO_TEST:
        del parts[TEST]
    lists = {name: [Labelled(item.impath, item.classname) for item in items] for name, items in parts.items() if items}
    return lists, list(found.classnames)


def _looked(lists: dict[str, list[Labelled]], root: Path) -> tuple[Findings, list[Seen]]:
    paths = list(dict.fromkeys(one.path for pictures in lists.values() for one in pictures))
    seen = look_at(paths, "looking")
    return report(lists, seen, root), seen


def _too_long(texts: Sequence[str]) -> list[str]:
    """What CLIP's text tower has no room for."""
    found = []
    for text in texts:
        try:
            tokenize(text)
        except CasPLError as error:
            found.append(str(error))
    return found


def _say(found: Findings, seen: Sequence[Seen]) -> None:
    for kind, sentences in (("fault", found.faults), ("note", found.notes)):
        for sentence in sentences:
            print(f"{kind}: {sentence}")
    if not found.faults:
        print(f"{len(seen):,} pictures, all can be read")


if __name__ == "__main__":
    sys.exit(main())
