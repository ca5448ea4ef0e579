"""The order of rows, and which method is whose cascade."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from caspl.protocols.protocol import PREFIX, unwrapped
from caspl.results import paper_figures
from caspl.results.collect import Group

KNOWN = (
    *("CasPL", "LinearProbeCLIP", "CoOp", "TipAdapter", "TipAdapterF"),
    *("CoCoOp", "VPT", "ProGrad", "IVLP", "MaPLe", "LASP", "BayesPrompt", "KgCoOp", "PromptSRC", "COMMA", "TCP"),
    *("CoPrompt", "MPL", "PromptOT", "PromptKD"),
)


class Method(Protocol):
    """What rows are sorted and told apart by: a method as it was run on a data set."""

    dataset: str
    trainer: str
    config: str
    shots: int


M = TypeVar("M", bound=Method)


def sort_key(group: Method) -> tuple[int, str, int, bool, str]:
    """Zero-shot, boosting alone, then the methods by age and others by name; CasPL_X directly after X.

    KDPL_X and FDBPL_X follow X.
    """
    method, plain = group.trainer.removeprefix(PREFIX), unwrapped(group.trainer)[-1]
    rank = KNOWN.index(plain) if plain in KNOWN else len(KNOWN)
    if method.startswith("Zeroshot"):
        rank = -1
    return rank, method, group.shots, group.trainer.startswith(PREFIX), group.config


def datasets(groups: Sequence[Group]) -> list[str]:
    """The data sets of these groups, in order."""
    return named({group.dataset for group in groups})


def named(names: Iterable[str]) -> list[str]:
    """Data sets: the paper's in its order, then the others by name."""
    known = paper_figures.dataset_order()

    def key(name: str) -> tuple[int, str]:
        short = paper_figures.dataset_key(name)
        return (known.index(short) if short in known else len(known)), name

    return sorted(names, key=key)


def partner(group: M, groups: Sequence[M]) -> M | None:
    """The X that this CasPL_X extends: the one with the same config, or the only one on this data set and shots."""
    if not group.trainer.startswith(PREFIX):
        return None
    method = group.trainer.removeprefix(PREFIX)
    here = [other for other in groups if other.dataset == group.dataset]
    plain = [other for other in here if other.trainer == method and other.shots in (0, group.shots)]
    same = [other for other in plain if other.config == group.config]
    if same:
        return same[0]
    # With several configs on either side it would be a guess which belong together.
    rivals = [other for other in here if other.trainer == group.trainer and other.shots == group.shots]
    return plain[0] if len(plain) == len(rivals) == 1 else None


def several_configs(groups: Iterable[Method]) -> bool:
    """Whether a method was run with several configs, so that its rows would look alike without them."""
    return any(count > 1 for count in Counter((one.dataset, one.trainer, one.shots) for one in groups).values())


def common(configs: Iterable[str]) -> str:
    """The config of all, if there is one."""
    found = set(configs)
    return found.pop() if len(found) == 1 else "several"
