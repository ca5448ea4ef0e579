"""From a request to the runs that it takes: phase 1 once, then whatever needs it. Nothing is run or written here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from caspl.errors import CasPLError, near
from caspl.files.parse import parse_yaml
from caspl.protocols.protocol import Choice, Protocol, did_you_mean
from caspl.results.order import PREFIX

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
        seeds: of the adapting runs.
        shots: empty: the protocol's.
        targets: data sets to test on, where the protocol names others; empty: its own.
        config, label: of the method, instead of the protocol's; what folders and records call it.
        boosting, boosting_label, boosting_options: of phase 1, likewise.
        boosting_seed: of phase 1; negative: the run's own.
        options: KEY VALUE pairs of the adapting runs.
        plugins: files with code of the user's own.
        suffix, boosting_suffix: of the labels, where a table varies settings.
    """

    protocol: Protocol
    configs: Path
    output: Path
    datasets: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (1,)
    shots: tuple[int, ...] = ()
    targets: tuple[str, ...] = ()
    config: str = ""
    label: str = ""
    boosting: str = ""
    boosting_label: str = ""
    boosting_options: Pairs = ()
    boosting_seed: int = 1
    options: Pairs = ()
    plugins: tuple[Path, ...] = ()
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
            raise CasPLError(f"two runs of different settings would be in {run.folder}: use LABEL")
    return list(found.values())


def _runs(request: Request) -> Iterator[Run]:
    protocol = request.protocol
    if request.targets and not any(test.datasets for test in protocol.tests):
        raise CasPLError(f"{protocol.name} tests where it trains: leave --targets out")
    datasets = [_Dataset.find(name, request.configs) for name in request.datasets or protocol.sources]
    for dataset in datasets:
        for method in request.methods or protocol.methods:
            if method == "CasPL":
                raise CasPLError("CasPL is phase 1; name a method of phase 2, e.g. CasPL_PromptSRC")
            shots, seeds = request.shots or protocol.shots, request.seeds
            if "Zeroshot" in method:  # nothing is drawn but, with its seed, in phase 1
                shots = shots[-1:]
                seeds = seeds if method.startswith(PREFIX) and request.boosting_seed < 0 else seeds[:1]
            for number in shots:
                for seed in seeds:
                    yield from _trained(request, dataset, method, number, seed)


@dataclass(frozen=True)
class _Dataset:
    name: str  # of its folder in the output
    config: Path
    registered: str  # DATASET.NAME

    @classmethod
    def find(cls, name: str, configs: Path) -> _Dataset:
        path = Path(name) if name.endswith(".yaml") else configs / "datasets" / f"{name}.yaml"
        if not path.is_file():
            there = sorted(other.stem for other in path.parent.glob("*.yaml"))
            found = near(path.stem, there)
            hint = f"did you mean {found[0]}?" if found else f"there are: {' '.join(there)}"
            raise CasPLError(f"unknown data set {name}; {hint}")
        content = parse_yaml(path.read_text(encoding="utf-8"))
        registered = ((content or {}).get("DATASET") or {}).get("NAME", "")
        return cls(path.stem, path, str(registered))


def _trained(request: Request, dataset: _Dataset, method: str, shots: int, seed: int) -> Iterable[Run]:
    """A training with what it needs, and its further tests."""
    protocol = request.protocol
    own = Choice(request.config) if request.config else None
    choice = own or protocol.config(method, dataset.name, shots)
    file = _config_file(request.configs, method, choice.config)
    label = request.label or Path(choice.config).name.removesuffix(".yaml")
    if method.startswith(PREFIX) and request.boosting_suffix:
        label += f"_boosting{request.boosting_suffix}"
    label += request.suffix
    common: list[str] = ["--trainer", method, "--seed", str(seed), "--config-file", str(file)]
    common += ["DATASET.NUM_SHOTS", str(shots)]
    needs: tuple[Path, ...] = ()
    phase1 = ""
    if method.startswith(PREFIX):
        boosting_seed = seed if request.boosting_seed < 0 else request.boosting_seed
        boost = _boost(request, dataset, method, boosting_seed)
        yield boost
        assert boost.makes is not None
        needs, folder = (boost.folder,), boost.makes[0]
        phase1 = f"{boost.note} seed {boosting_seed} {' '.join(request.boosting_options)}"
        common += ["TRAINER.CASPL.BOOSTING_DIR", str(folder), "TRAINER.CASPL.BOOSTING_SEED", str(boosting_seed)]
    options = [word for key, value in choice.options.items() for word in (key, value)]
    tail = ["TRAINER.RECORD.CONFIG", label, *options, *request.options]
    place = Path(f"shots_{shots}", method, label, f"seed{seed}")

    def run(
        folder: Path, where: _Dataset, classes: str, record: str, more: Sequence[str], needs: tuple[Path, ...]
    ) -> Run:
        words = [*more, *common, "TRAINER.RECORD.PROTOCOL", record, *tail, "DATASET.SUBSAMPLE_CLASSES", classes]
        title = f"{method} {where.name}{'' if classes == 'all' else f' {classes}'} {shots} shots seed {seed}"
        test = "test" if more else "train"
        return Run(
            folder,
            title,
            ("--dataset-config-file", str(where.config), *words),
            identity(words, phase1, request, (where.config, file)),
            needs,
            kind=f"{test} {method} {where.name} {label} {shots if not more else classes}",
            note=choice.note,
        )

    base = request.output / protocol.folder / dataset.name / place
    yield run(base, dataset, protocol.classes, protocol.record, (), needs)
    evaluation = ("--eval-only", "--model-dir", str(base))
    for test in protocol.tests:
        targets = request.targets or test.datasets
        found = [_Dataset.find(name, request.configs) for name in targets] if test.datasets else [dataset]
        for target in found:
            above = [dataset.name, target.name] if test.datasets else [dataset.name]
            folder = request.output / test.part / Path(*above) / place
            yield run(folder, target, test.classes, protocol.name, evaluation, (base,))


def _boost(request: Request, dataset: _Dataset, method: str, seed: int) -> Run:
    """Phase 1."""
    config = request.boosting or request.protocol.boosting_config(method, dataset.name)
    file = _config_file(request.configs, "CasPL", config)
    label = (request.boosting_label or Path(config).name.removesuffix(".yaml")) + request.boosting_suffix
    folder = request.output / "boosting_runs" / dataset.name / "CasPL" / label / f"seed{seed}"
    made = request.output / "boosting" / label
    words = ["--trainer", "CasPL", "--seed", str(seed), "--config-file", str(file)]
    words += ["TRAINER.CASPL.BOOSTING_DIR", str(made), "TRAINER.RECORD.PROTOCOL", "boosting"]
    words += ["TRAINER.RECORD.CONFIG", label, *request.boosting_options]
    return Run(
        folder,
        f"phase 1 {dataset.name} {label} seed {seed}",
        ("--dataset-config-file", str(dataset.config), *words),
        identity(words, "", request, (dataset.config, file)),
        makes=(made, f"{dataset.registered}/*/*/seed{seed}.safetensors"),
        kind=f"phase 1 {dataset.name} {label}",
        note=config,
    )


def _config_file(configs: Path, method: str, name: str) -> Path:
    """The file of a config; ``CasPL_X`` without one of its own takes X's.

    Raises:
        CasPLError: there is none.
    """
    if name.endswith(".yaml"):
        if not Path(name).is_file():
            raise CasPLError(f"no config file {name} (CFG)")
        return Path(name)
    plain = method.removeprefix(PREFIX)
    folders = [configs / "trainers" / one for one in (method, plain)]
    for folder in folders:
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    if not any(folder.is_dir() for folder in folders):
        hint = did_you_mean(method, [path.name for path in (configs / "trainers").iterdir() if path.is_dir()])
        raise CasPLError(
            f"there is no folder configs/trainers/{plain}: {hint}let CFG be the path of a .yaml for a method of yours"
        )
    files = sorted(path.name for folder in folders for path in folder.glob("*.yaml"))
    raise CasPLError(f"no config {name}.yaml in configs/trainers/{plain}; there are: {' '.join(files)}")


def identity(words: Sequence[str], phase1: str, request: Request, configs: Sequence[Path]) -> str:
    """What is kept of a run's arguments: as a shell would read them, without the places of output and checkout, with
    what its boosting tokens come from and what config files and plug-ins hold."""
    places = {str(request.output): "OUTPUT", str(request.configs): "configs"}
    text = ""
    for word in words:
        for place, name in places.items():
            word = name + word[len(place) :] if word.startswith(place + "/") else word
        text += re.sub(r"([^\w./:=@%+-])", r"\\\1", word) + " "
    text += f"# phase 1: {phase1}" if phase1 else ""
    hashed = [path for path in configs if not path.is_relative_to(request.configs)]
    for path in (*hashed, *request.plugins):
        text += f"# {path.name}: {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    return text
