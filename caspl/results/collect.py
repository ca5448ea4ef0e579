"""From records to figures: find them, join base and new classes by seed, average over seeds.

Conventions. The spread is the sample standard deviation (ddof 1), and there is none for a single seed. The harmonic
mean HM = 2ab/(a+b) is that of the seed-averaged base and new accuracies, as in the papers; its spread is that of the
HMs of the single seeds. Only seeds with both a base and a new test enter the HM.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from caspl.errors import CasPLError
from caspl.protocols.protocol import TEACHER
from caspl.results.record import EVALUATIONS, FILE_NAME, RunRecord, read_record

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """Mean and spread (None for one seed) over ``count`` seeds."""

    mean: float
    spread: float | None
    count: int


@dataclass
class Group:
    """The runs of one method on one data set that differ in nothing but seed and tested classes.

    ``base`` and ``new`` map a seed to an accuracy in percent. Zero-shot groups have 0 shots, which
    change nothing there.
    """

    dataset: str
    trainer: str
    config: str
    shots: int
    base: dict[int, float] = field(default_factory=dict)
    new: dict[int, float] = field(default_factory=dict)

    @property
    def joint_seeds(self) -> list[int]:
        """The seeds that were tested on both base and new classes."""
        return sorted(self.base.keys() & self.new.keys())

    @property
    def hm(self) -> dict[int, float]:
        """The HM of each joint seed."""
        return {seed: harmonic_mean(self.base[seed], self.new[seed]) for seed in self.joint_seeds}

    @property
    def harmonic(self) -> Summary | None:
        """The HM over the joint seeds; None if there are none."""
        seeds = self.joint_seeds
        if not seeds:
            return None
        base, new = (statistics.fmean(part[seed] for seed in seeds) for part in (self.base, self.new))
        return Summary(harmonic_mean(base, new), _spread(list(self.hm.values())), len(seeds))


def harmonic_mean(base: float, new: float) -> float:
    """2ab / (a + b); 0 where both are 0."""
    return 2 * base * new / (base + new) if base + new else 0.0


def summarize(by_seed: Mapping[int, float]) -> Summary | None:
    """Mean and spread over the seeds; None without any."""
    values = list(by_seed.values())
    return Summary(statistics.fmean(values), _spread(values), len(values)) if values else None


ABLATIONS = "ablations"
"""The protocol of their runs."""


def find_records(folder: str | Path) -> list[RunRecord]:
    """All records below a folder, see :func:`find_paths`.

    Raises:
        CasPLError: if there is no such folder.
    """
    return list(find_paths(folder).values())


def find_paths(folder: str | Path) -> dict[Path, RunRecord]:
    """All records below a folder by their files, in order; a broken one is named in the log and left out.

    Raises:
        CasPLError: if there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CasPLError(f"there is no folder {folder}; name the one that your runs write to.")
    records = {}
    for path in sorted([*folder.rglob(FILE_NAME), *folder.rglob(f"{EVALUATIONS}/*.json")]):
        try:
            record = read_record(path)
            if record.accuracy is None:
                raise CasPLError(f"{path} holds no finite accuracy.")
            records[path] = record
        except CasPLError as error:
            logger.warning("left out: %s", error)
    return records


def base_to_new(records: Iterable[RunRecord], ablations: bool = False) -> list[Group]:
    """Group the base and new tests by (dataset, trainer, config, shots).

    Tests of all classes are passed over, and so are few-shot runs, which have trained on the new classes too, and
    without ``ablations`` the runs of ablations, which would crowd a table. Of two records for the same seed the one
    that finished last counts, and a difference between the two is logged.
    """
    passed = ("few_shot", TEACHER) if ablations else ("few_shot", TEACHER, ABLATIONS)
    tests = (record for record in records if record.classes != "all" and record.protocol not in passed)
    chosen = one_each(tests, lambda record: record.classes)
    groups: dict[tuple[str, str, str, int], Group] = {}
    for (dataset, trainer, config, shots, seed, classes), record in chosen.items():
        group = groups.setdefault((dataset, trainer, config, shots), Group(dataset, trainer, config, shots))
        (group.base if classes == "base" else group.new)[seed] = record.metrics["accuracy"]
    return list(groups.values())


Key = tuple[str, str, str, int, int, str]
"""Data set, trainer, config, shots (0 of what is not trained), seed, and what else tells two tests apart."""


def one_each(records: Iterable[RunRecord], apart: Callable[[RunRecord], str]) -> dict[Key, RunRecord]:
    """Of several records of the same test the one that counts, see :func:`later`."""
    found: dict[Key, RunRecord] = {}
    for record in records:
        shots = 0 if is_zero_shot(record) else record.shots
        key = (record.dataset, record.trainer, record.config, shots, record.seed, apart(record))
        found[key] = later(found[key], record) if key in found else record
    return found


def is_zero_shot(record: RunRecord) -> bool:
    """Whether nothing was trained."""
    return record.protocol == "zero_shot" or record.trainer.startswith("Zeroshot")


def later(first: RunRecord, second: RunRecord) -> RunRecord:
    """Of two records of the same test, the one that counts; a difference between the two is logged."""
    if bool(first.tested) != bool(second.tested):  # a training's own figure, before one of its checkpoints tested again
        return second if first.tested else first
    later = second if second.finished >= first.finished else first
    if first.accuracy != second.accuracy:
        logger.warning(
            "two records for %s, %s (%s), %d shots, %s classes, seed %d: %s and %s; the one finished last counts (%s)",
            *(first.dataset, first.trainer, first.config, first.shots, first.classes, first.seed),
            *(first.accuracy, second.accuracy, later.accuracy),
        )
    return later


def _spread(values: list[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None
