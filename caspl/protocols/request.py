"""What somebody wants run, and one run of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from caspl.protocols.protocol import Protocol

Pairs = tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """What somebody wants run.

    Args:
        protocol: which.
        configs: the folder ``configs``.
        output: where runs are written; folders of runs are below it.
        datasets: files in ``configs/datasets`` without .yaml, or paths; empty: the protocol's.
        methods: trainers; empty: the protocol's.
        seeds: of the adapting runs; empty: 1.
        shots: empty: the protocol's.
        targets: data sets to test on, where the protocol names others; empty: its own.
        config, label: of the method, instead of the protocol's; what folders and records call it.
        boosting, boosting_label, boosting_options: of phase 1, likewise.
        boosting_seed: of phase 1; negative: the run's own; None: 1, or what a table says.
        target_boosting: whether a cascade that is tested on another data set than it was trained on takes that one's
            boosting tokens, from unlabelled images of it.
        options: KEY VALUE pairs of the adapting runs.
        plugins: files with code of the user's own.
        record: what records call the adapting runs, instead of the protocol.
        suffix, boosting_suffix: of the labels, where a table varies settings.
    """

    protocol: Protocol
    configs: Path
    output: Path
    datasets: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    shots: tuple[int, ...] = ()
    targets: tuple[str, ...] = ()
    config: str = ""
    label: str = ""
    boosting: str = ""
    boosting_label: str = ""
    boosting_options: Pairs = ()
    boosting_seed: int | None = None
    target_boosting: bool = False
    options: Pairs = ()
    plugins: tuple[Path, ...] = ()
    record: str = ""
    suffix: str = ""
    boosting_suffix: str = ""


@dataclass(frozen=True)
class Run:
    """One call of ``train.py``.

    Args:
        folder: of its results.
        title: in words.
        arguments: of the command, but for ``--root``, ``--output-dir`` and ``--plugin``.
        identity: what tells it from a run of other arguments in its folder.
        needs: folders of runs that come first.
        makes: a folder and a pattern of files in it that it leaves there.
        kind: of its work, for how long it takes: runs of one kind take about as long as each other.
        note: what its table says of its setting.
    """

    folder: Path
    title: str
    arguments: Pairs
    identity: str
    needs: tuple[Path, ...] = ()
    makes: tuple[Path, str] | None = None
    kind: str = ""
    note: str = field(default="", compare=False)
