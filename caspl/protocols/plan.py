"""From a request to the runs that it takes: phase 1 once, then whatever needs it. Nothing is run or written here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from caspl.errors import CasPLError
from caspl.protocols.files import DatasetFile
from caspl.protocols.protocol import PREFIX
from caspl.protocols.request import Request, Run
from caspl.protocols.runs import trained


def plan(request: Request) -> list[Run]:
    """The runs of a request, each after those that it needs, none twice.

    Raises:
        CasPLError: a data set, method or config is not there, or two runs of different settings would share a folder.
    """
    return together(_runs(request))


def together(runs: Iterable[Run]) -> list[Run]:
    """The runs, none twice.

    Raises:
        CasPLError: two of different settings would share a folder.
    """
    found: dict[Path, Run] = {}
    for run in runs:
        if found.setdefault(run.folder, run) != run:
            where = f"two runs of different settings would be in {run.folder}"
            raise CasPLError(f"{where}: use LABEL, or values that differ in letters or digits")
    return list(found.values())


def _runs(request: Request) -> Iterator[Run]:
    protocol = request.protocol
    if request.targets and not any(test.datasets for test in protocol.tests):
        raise CasPLError(f"{protocol.name} tests where it trains: leave --targets out")
    datasets = [DatasetFile.find(name, request.configs) for name in request.datasets or protocol.sources]
    for dataset in datasets:
        for method in request.methods or protocol.methods:
            if method == "CasPL":
                raise CasPLError("CasPL is phase 1; name a method of phase 2, e.g. CasPL_PromptSRC")
            shots, seeds = request.shots or protocol.shots, request.seeds or (1,)
            if "Zeroshot" in method:  # nothing is drawn but, with its seed, in phase 1
                shots = shots[-1:]
                seeds = seeds if method.startswith(PREFIX) and (request.boosting_seed or 0) < 0 else seeds[:1]
            for number in shots:
                for seed in seeds:
                    yield from trained(request, dataset, method, number, seed)
