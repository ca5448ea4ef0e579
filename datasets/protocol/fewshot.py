"""Few-shot samples: drawn as published, kept as JSON beside the data.

The sample for a seed is that of CoOp-style repositories: Python's generator is seeded, then train is sampled, then
val with at most four images a class. It is drawn from all classes, before base and new are cut.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from caspl.data import Entry, Split
from caspl.errors import CasPLError
from caspl.files import write_json
from caspl.files.parse import parse_json
from datasets.protocol.pickles import read_pickled_sample
from datasets.protocol.subset import some

logger = logging.getLogger(__name__)

MAX_VAL_SHOTS = 4

Sample = dict[str, list[Entry]]
Draw = Callable[[list[Entry], int], list[Entry]]


def few_shots(split: Split, shots: int, seed: int, folder: Path, draw: Draw, sample_val: bool = True) -> Split:
    """Replace train and val by their few-shot samples.

    Args:
        split: the full lists.
        shots: images a class; below 1 the split is returned as it is.
        seed: seed of the sample. Negative means none: drawn from the generator as it stands, and not kept.
        folder: where samples are kept.
        draw: samples a list from Python's global generator.
        sample_val: whether val is sampled too.
    """
    if shots < 1:
        return split
    say_few(split.train, shots)
    sizes = {"train": shots, "val": min(shots, MAX_VAL_SHOTS)} if sample_val else {"train": shots}
    if seed < 0:
        return _reduced(split, _drawn(split, sizes, draw))
    path = folder / f"shot_{shots}-seed_{seed}.json"
    sample = _kept(path, split, sizes)
    if sample is None:
        sample = _from_pickle(path.with_suffix(".pkl"), split, sizes)
        if sample is None:
            with _seeded(seed):
                sample = _drawn(split, sizes, draw)
        _keep(path, split, sample)
    return _reduced(split, sample)


def say_few(entries: list[Entry], shots: int) -> None:
    """Warn of classes with fewer training images than shots."""
    names = {entry.label: entry.classname for entry in entries}
    counts = Counter(entry.label for entry in entries)
    few = [f"{names[label]} {count}" for label, count in counts.items() if count < shots]
    if few:
        logger.warning(
            "%d of %d classes have fewer than %d training images and give all they have: %s",
            *(len(few), len(names), shots, some(few)),
        )


def _reduced(split: Split, sample: Sample) -> Split:
    return replace(split, train=sample["train"], val=sample.get("val", split.val))


def _drawn(split: Split, sizes: dict[str, int], draw: Draw) -> Sample:
    return {name: draw(getattr(split, name), size) for name, size in sizes.items()}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    # Seeded here and set back, so that neither what was drawn before changes the sample, nor does it matter
    # to what follows whether the sample was drawn or read.
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _keep(path: Path, split: Split, sample: Sample) -> None:
    content: dict[str, object] = {name: [entry.path for entry in entries] for name, entries in sample.items()}
    try:
        write_json(path, {"split": split.digest(), **content})
    except CasPLError as error:
        logger.warning("the few-shot sample is not kept, each run draws it again: %s", error)


def _kept(path: Path, split: Split, sizes: dict[str, int]) -> Sample | None:
    """The sample kept at ``path``, if there is one and it was drawn from this split."""
    if not path.exists():
        return None
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        if content["split"] != split.digest():
            logger.warning("%s belongs to another split: the sample is drawn anew", path)
            return None
        sample = {name: _look_up(getattr(split, name), content[name]) for name in sizes}
        _require_sizes(split, sample, sizes)
        return sample
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s is damaged (%s): the sample is drawn anew", path, error)
        return None


def _look_up(entries: list[Entry], paths: list[str]) -> list[Entry]:
    by_path = {entry.path: entry for entry in entries}
    return [by_path[path] for path in paths]


def _require_sizes(split: Split, sample: Sample, sizes: dict[str, int]) -> None:
    """Check that a sample is one: of each class as many images as were asked for, or all, and none of them twice.

    Raises:
        ValueError: naming what differs.
    """
    for name, size in sizes.items():
        there = Counter(entry.label for entry in getattr(split, name))
        found = Counter(entry.label for entry in set(sample[name]))
        if len(set(sample[name])) < len(sample[name]):
            raise ValueError(f"{name} names an image twice")
        for label, count in there.items():
            if found[label] != min(size, count):
                raise ValueError(f"{name} has {found[label]} images of class {label}, not {min(size, count)}")


def _from_pickle(path: Path, split: Split, sizes: dict[str, int]) -> Sample | None:
    """The sample that another repository left, if there is one and its images belong to this split."""
    if not path.exists():
        return None
    pickled = read_pickled_sample(path)
    try:
        sample = {name: _match(getattr(split, name), pickled[name]) for name in sizes}
        _require_sizes(split, sample, sizes)
    except (KeyError, ValueError) as error:
        said = error if isinstance(error, ValueError) else f"{error} is not in it"
        logger.warning("%s does not fit the split (%s): the sample is drawn anew", path, said)
        return None
    logger.info("few-shot sample of %s", path)
    return sample


def _match(entries: list[Entry], items: list[tuple[str, int]]) -> list[Entry]:
    """Find absolute paths of some other machine: the longest ending that is a path of the split counts."""
    by_path = {(entry.path, entry.label): entry for entry in entries}
    found = []
    for impath, label in items:
        parts = PurePosixPath(impath.replace("\\", "/")).parts
        keys = (("/".join(parts[start:]), label) for start in range(len(parts)))
        key = next((key for key in keys if key in by_path), None)
        if key is None:
            raise KeyError(impath)
        found.append(by_path[key])
    return found
