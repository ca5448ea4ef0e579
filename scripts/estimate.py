"""How much work a plan is: steps of training and images of tests, and hours where runs like it have been timed here."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from yacs.config import CfgNode

from caspl.data import PUBLISHED
from caspl.protocols import Run
from caspl.protocols.protocol import PREFIX
from caspl.results.collect import find_records
from caspl.results.record import RunRecord
from caspl.tiny import shapes
from caspl.tiny.domain import DOMAINS
from caspl.tiny.write import WORLD_SPLITS

COUNTS = {
    name.replace("_", ""): (len(domain.classnames), [len(domain.labels(split)) for split in domain.splits])
    for name, domain in DOMAINS.items()
} | {"tinyworld": (len(shapes.NAMES), list(WORLD_SPLITS.values()))}
"""Classes, and images of train, val and test, of data sets that are not published ones, by DATASET.NAME in small."""


@dataclass(frozen=True)
class Work:
    """Of one run: steps of training and images of its test; those of half the classes are taken as half the images."""

    steps: int
    images: int


def work(cfg: CfgNode, evaluates: bool) -> Work | None:
    """The work of a run; None where the size of its data set is not known."""
    tested = _counts(cfg.DATASET.NAME)
    looked_at = cfg.TRAINER.CASPL.IMAGES if cfg.TRAINER.NAME == "CasPL" else ""
    trained = _counts(looked_at or cfg.DATASET.NAME)
    if tested is None or trained is None:
        return None
    classes, counts = trained
    share = {"all": 1.0, "base": (classes + 1) // 2 / classes, "new": classes // 2 / classes}
    part = share[cfg.DATASET.SUBSAMPLE_CLASSES]
    images_tested = round(tested[1][2] * part)
    if evaluates or "Zeroshot" in cfg.TRAINER.NAME:
        return Work(0, images_tested)
    shots = cfg.DATASET.NUM_SHOTS
    if cfg.TRAINER.NAME.removeprefix(PREFIX) == "PromptKD":  # images of all classes, without labels
        part, shots = 1.0, cfg.TRAINER.PROMPTKD.SHOTS
    images = round(classes * part) * shots if shots > 0 else round(counts[0] * part)
    batch = cfg.DATALOADER.TRAIN_X.BATCH_SIZE
    # The last, smaller batch is left out, unless there is no other.
    return Work(max(1, images // batch) * cfg.OPTIM.MAX_EPOCH, images_tested)


def _counts(name: str) -> tuple[int, Sequence[int]] | None:
    """Classes, and images of train, val and test; None where they are not known."""
    known = next((one for one in PUBLISHED.values() if one.name == name), None)
    return (known.classes, known.counts) if known else COUNTS.get(name.lower())


@dataclass(frozen=True)
class Times:
    """Seconds of a step and of a tested image, by trainer, config and data set, from finished runs."""

    step: Mapping[tuple[str, str, str], float]
    image: Mapping[tuple[str, str, str], float]

    @classmethod
    def of(cls, output: Path) -> Times:
        """From the records below a folder."""
        steps: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        images: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        for record in find_records(output) if output.is_dir() else []:
            key = (record.trainer, record.config, record.dataset)
            if record.seconds.get("test") and record.test_images:
                images[key].append(record.seconds["test"] / record.test_images)
            found = _steps(record)
            if found:
                steps[key].append(record.seconds["train"] / found)
        return cls(
            {key: statistics.median(several) for key, several in steps.items()},
            {key: statistics.median(several) for key, several in images.items()},
        )


def _steps(record: RunRecord) -> int:
    """Of a training that was recorded whole."""
    if record.tested or not record.seconds.get("train") or not record.settings:
        return 0
    cfg = CfgNode(record.settings)
    found = work(cfg, False)
    return found.steps if found else 0


def lines(runs: Iterable[tuple[Run, CfgNode]], output: Path, slots: int) -> list[str]:
    """What to print of a plan: one line each kind of run, then the sum."""
    times = Times.of(output)
    kinds: dict[tuple[str, str, str], list[tuple[Work | None, float | None]]] = defaultdict(list)
    for run, cfg in runs:
        evaluates = "--eval-only" in run.arguments
        found = work(cfg, evaluates)
        name, config = cfg.TRAINER.NAME, cfg.TRAINER.RECORD.CONFIG
        seconds = None
        if found is not None:
            key = (name, config, cfg.DATASET.NAME)
            step, image = times.step.get(key), times.image.get(key)
            known = (step is not None or not found.steps) and image is not None
            seconds = found.steps * (step or 0) + found.images * (image or 0) if known else None
        kinds[("test" if evaluates else "train"), name, cfg.DATASET.NAME].append((found, seconds))
    shown, total, unknown = [], 0.0, 0
    for (what, name, dataset), several in kinds.items():
        steps = sum(found.steps for found, _ in several if found)
        images = sum(found.images for found, _ in several if found)
        timed = [seconds for _, seconds in several if seconds is not None]
        total, unknown = total + sum(timed), unknown + len(several) - len(timed)
        hours = f"{sum(timed) / 3600:.2f} h" if len(timed) == len(several) else "not timed here yet"
        size = f"{steps:,} steps, {images:,} test images" if any(found for found, _ in several) else "of unknown size"
        shown.append(f"{what} {name} on {dataset}: {len(several)} runs, {size}: {hours}")
    rest = f", and {unknown} runs of which none like them has been timed here" if unknown else ""
    side = f" on {slots} at a time" if slots > 1 else ""
    return [*shown, f"about {total / slots / 3600:.2f} h{side}{rest}"]
