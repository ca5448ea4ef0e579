"""Runs of two methods that differ in nothing else: the pairs of a paired test."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from caspl.errors import CasPLError
from caspl.results.all_classes import TRANSFERS, latest, source_of
from caspl.results.collect import Group, base_to_new, is_zero_shot
from caspl.results.figures import BySeed
from caspl.results.record import RunRecord

_UNTRAINED = 0  # the shots of what learns nothing, which stands beside any number of shots and any seed
Pairs = dict[int, tuple[float, float]]
"""Two accuracies by seed."""


class Measure(NamedTuple):
    """What both methods have figures of."""

    dataset: str
    name: str
    shots: int


class Method(NamedTuple):
    """A trainer, perhaps with one config of several."""

    trainer: str
    config: str

    @classmethod
    def parse(cls, text: str) -> Method:
        """Read TRAINER or TRAINER:CONFIG."""
        trainer, _, config = text.partition(":")
        return cls(trainer, config)

    def __str__(self) -> str:
        return f"{self.trainer}:{self.config}" if self.config else self.trainer


def pairs_of(records: Sequence[RunRecord], a: Method, b: Method) -> dict[Measure, Pairs]:
    """What both methods have.

    Raises:
        CasPLError: one has no runs, or several configs.
    """
    return _pairs(_figures(records, a), _figures(records, b))


def _figures(records: Sequence[RunRecord], method: Method) -> dict[Measure, BySeed]:
    """All accuracies of a method, by seed."""
    found: dict[Measure, dict[str, BySeed]] = {}
    for group in base_to_new(records):
        if _is(group, method):
            for name, by_seed in (("base", group.base), ("new", group.new), ("HM", group.hm)):
                if by_seed:
                    found.setdefault(Measure(group.dataset, name, group.shots), {})[group.config] = by_seed
    for near in (True, False):
        tests = latest(one for one in records if _is_near(one) == near or (not near and is_zero_shot(one)))
        for test, source in [(one, source) for one in tests for source in _sources(one, records, near)]:
            if _is(test, method):
                shots = _UNTRAINED if is_zero_shot(test) else test.shots
                measure = Measure(test.dataset, f"from {source}" if source else "accuracy", shots)
                configs = found.setdefault(measure, {})
                configs.setdefault(test.config, {})[test.seed] = test.metrics["accuracy"]
    if not found:
        raise CasPLError(f"there is no run of {method}; there are {', '.join(sorted({r.trainer for r in records}))}.")
    for measure, configs in found.items():
        if len(configs) > 1:
            names = " or ".join(f"{method.trainer}:{config}" for config in sorted(configs))
            raise CasPLError(f"{method.trainer} has several configs on {measure.dataset}: say {names}.")
    return {measure: next(iter(configs.values())) for measure, configs in found.items()}


def _sources(test: RunRecord, records: Sequence[RunRecord], near: bool) -> list[str]:
    """What a test is a transfer from; what is not trained is one from wherever others are."""
    if near:
        return [""]
    if not is_zero_shot(test):
        return [source_of(test)] if source_of(test) != test.dataset else []
    far = [one for one in records if one.dataset == test.dataset and not _is_near(one)]
    return sorted({source_of(one) for one in far} - {"", test.dataset})


def _is(run: Group | RunRecord, method: Method) -> bool:
    return run.trainer.lower() == method.trainer.lower() and method.config in ("", run.config)


def _is_near(record: RunRecord) -> bool:
    """Whether this is a few-shot run, or none that was trained elsewhere."""
    return record.protocol not in TRANSFERS and source_of(record) in ("", record.dataset)


def _pairs(a: dict[Measure, BySeed], b: dict[Measure, BySeed]) -> dict[Measure, Pairs]:
    """What both have, by seed; what is not trained has no seed, and its one figure stands beside all of them."""
    made: dict[Measure, Pairs] = {}
    for measure in sorted(dict.fromkeys([*a, *b]), key=lambda one: (one.dataset, one.shots < 1, one.shots)):
        sides: list[BySeed] = []
        for side, other in ((a, b), (b, a)):
            plain = side.get(measure._replace(shots=_UNTRAINED))
            if measure not in side and plain:
                sides.append(dict.fromkeys(other[measure], statistics.fmean(plain.values())))
            else:
                sides.append(side.get(measure, {}))
        seeds = sorted(sides[0].keys() & sides[1].keys())
        if seeds:
            made[measure] = {seed: (sides[0][seed], sides[1][seed]) for seed in seeds}
    return made
