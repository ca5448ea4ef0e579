"""The runs of one method on one data set: what it learns from where that is trained, a training, its further tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from caspl.protocols.files import DatasetFile, config_file, identity
from caspl.protocols.protocol import PREFIX, TEACHER, Choice, Taught
from caspl.protocols.request import Pairs, Request, Run

TRANSDUCTIVE = "_target_boosting"
"""Of the labels of tests with boosting tokens from unlabelled images of the tested data set."""


def trained(request: Request, dataset: DatasetFile, method: str, shots: int, seed: int) -> Iterable[Run]:
    """A training with what it needs, and its further tests."""
    adapted = _Adapted.of(request, dataset, method, shots, seed)
    if adapted.phase1 is not None:
        yield adapted.phase1
    if adapted.teacher is not None:
        yield adapted.teacher
    base = adapted.training()
    yield base
    for test in request.protocol.tests:
        names = request.targets or test.datasets
        targets = [DatasetFile.find(name, request.configs) for name in names] if test.datasets else []
        if not targets:
            yield adapted.test(base, test.part, test.classes)
        for target in targets:
            yield from adapted.transfer(base, target, test.part, test.classes)


@dataclass(frozen=True)
class _Adapted:
    """A method on a data set, with the boosting tokens that it stands on and the teacher that it learns from."""

    request: Request
    dataset: DatasetFile
    method: str
    shots: int
    seed: int
    choice: Choice
    file: Path
    label: str
    phase1: Run | None
    phase1_seed: int
    teacher: Run | None
    teacher_key: str

    @classmethod
    def of(cls, request: Request, dataset: DatasetFile, method: str, shots: int, seed: int) -> _Adapted:
        own = Choice(request.config) if request.config else None
        choice = own or request.protocol.config(method, dataset.name, shots)
        label = request.label or Path(choice.config).name.removesuffix(".yaml")
        cascades = method.startswith(PREFIX)
        if cascades and request.boosting_suffix:
            label += f"_boosting{request.boosting_suffix}"
        label += request.suffix
        boosting_seed = _phase1_seed(request, seed)
        boost = _boost(request, dataset, method, boosting_seed) if cascades else None
        file = config_file(request.configs, method, choice.config)
        taught = request.protocol.teacher(method, dataset.name)
        own_teacher = taught is None or taught.key in (*request.options, *choice.options)
        teacher = None if taught is None or own_teacher else _teacher(request, dataset, taught, shots, seed)
        key = taught.key if taught else ""
        return cls(request, dataset, method, shots, seed, choice, file, label, boost, boosting_seed, teacher, key)

    def training(self) -> Run:
        protocol = self.request.protocol
        folder = self.request.output / protocol.folder / self.dataset.name / self._place(self.label)
        needs = tuple(run.folder for run in (self.phase1, self.teacher) if run is not None)
        return self._run(folder, self.dataset, protocol.classes, protocol.record, (), self.label, needs)

    def test(self, base: Run, part: str, classes: str) -> Run:
        """Of a training, on its own data set."""
        folder = self.request.output / part / self.dataset.name / self._place(self.label)
        return self._test(base, folder, self.dataset, classes, (), self.label, ())

    def transfer(self, base: Run, target: DatasetFile, part: str, classes: str) -> Iterable[Run]:
        """A test of a training on another data set, with what it needs."""
        label = self.label
        more: Pairs = ()
        needs: tuple[Path, ...] = ()
        if self.phase1 is not None and self.request.target_boosting and "Zeroshot" in self.method:
            return  # nothing of it would be of the training
        if self.phase1 is not None and self.request.target_boosting:
            boost = _boost(self.request, target, self.method, self.phase1_seed)
            yield boost
            label, more, needs = self.label + TRANSDUCTIVE, _tokens_of(target), (boost.folder,)
        elif self.phase1 is not None and "Zeroshot" in self.method:  # which has no checkpoint that holds them
            more = _tokens_of(self.dataset)
        folder = self.request.output / part / self.dataset.name / target.name / self._place(label)
        yield self._test(base, folder, target, classes, more, label, needs)

    def _place(self, label: str) -> Path:
        return Path(f"shots_{self.shots}", self.method, label, f"seed{self.seed}")

    def _test(
        self,
        base: Run,
        folder: Path,
        where: DatasetFile,
        classes: str,
        more: Pairs,
        label: str,
        needs: tuple[Path, ...],
    ) -> Run:
        words = ("--eval-only", "--model-dir", str(base.folder), *more)
        return self._run(folder, where, classes, self.request.protocol.name, words, label, (base.folder, *needs))

    def _run(
        self,
        folder: Path,
        where: DatasetFile,
        classes: str,
        record: str,
        more: Sequence[str],
        label: str,
        needs: tuple[Path, ...],
    ) -> Run:
        request = self.request
        words = [*more, "--trainer", self.method, "--seed", str(self.seed), "--config-file", str(self.file)]
        words += ["DATASET.NUM_SHOTS", str(self.shots)]
        phase1 = ""
        if self.phase1 is not None and self.phase1.makes is not None:
            phase1 = f"{self.phase1.note} seed {self.phase1_seed} {' '.join(request.boosting_options)}"
            words += ["TRAINER.CASPL.BOOSTING_DIR", str(self.phase1.makes[0])]
            words += ["TRAINER.CASPL.BOOSTING_SEED", str(self.phase1_seed)]
        words += [self.teacher_key, str(self.teacher.folder)] if self.teacher is not None else []
        options = [word for pair in self.choice.options.items() for word in pair]
        words += ["TRAINER.RECORD.PROTOCOL", request.record or record, "TRAINER.RECORD.CONFIG", label]
        words += [*options, *request.options, "DATASET.SUBSAMPLE_CLASSES", classes]
        named = "" if classes == "all" else f" {classes}"
        named += f" {label}" if label != Path(self.choice.config).name.removesuffix(".yaml") else ""
        what = f"test {self.method} {where.name} {label} {classes}"
        return Run(
            folder,
            f"{self.method} {where.name}{named} {self.shots} shots seed {self.seed}",
            ("--dataset-config-file", str(where.config), *words),
            identity(words, phase1, request, (where.config, self.file)),
            needs,
            kind=what if more else f"train {self.method} {where.name} {label} {self.shots}",
            note=self.choice.note,
        )


def _teacher(request: Request, dataset: DatasetFile, taught: Taught, shots: int, seed: int) -> Run:
    """The training of a teacher, on the labelled images that the method's run is said to be on."""
    protocol, label = request.protocol, taught.config
    file = config_file(request.configs, taught.trainer, label)
    place = Path(dataset.name, protocol.classes, f"shots_{shots}", taught.trainer, label, f"seed{seed}")
    words = ["--trainer", taught.trainer, "--seed", str(seed), "--config-file", str(file)]
    words += ["DATASET.NUM_SHOTS", str(shots), "TRAINER.RECORD.PROTOCOL", TEACHER, "TRAINER.RECORD.CONFIG", label]
    words += ["DATASET.SUBSAMPLE_CLASSES", protocol.classes]
    return Run(
        request.output / "teacher_runs" / place,
        f"teacher {taught.trainer} {dataset.name} {label} {shots} shots seed {seed}",
        ("--dataset-config-file", str(dataset.config), *words),
        identity(words, "", request, (dataset.config, file)),
        kind=f"teacher {taught.trainer} {dataset.name} {label} {shots}",
    )


def _tokens_of(dataset: DatasetFile) -> Pairs:
    return ("TRAINER.CASPL.BOOSTING_DATASET", dataset.registered)


def _phase1_seed(request: Request, own: int) -> int:
    if request.boosting_seed is None:
        return 1
    return own if request.boosting_seed < 0 else request.boosting_seed


def _boost(request: Request, dataset: DatasetFile, method: str, seed: int) -> Run:
    """Phase 1."""
    config = request.boosting or request.protocol.boosting_config(method, dataset.name)
    file = config_file(request.configs, "CasPL", config)
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
