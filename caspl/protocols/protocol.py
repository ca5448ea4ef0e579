"""What a protocol is: where it trains and tests, with how many shots, and which config each method takes there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from caspl.errors import CasPLError, hint, near
from caspl.files.parse import parse_yaml

PREFIX = "CasPL_"
"""Of the trainer that cascades a method: CasPL_X."""
TAUGHT = ("KDPL_", "FDBPL_")
"""Of those that a teacher teaches: KDPL_X, FDBPL_X."""
TEACHER = "teacher"
"""What records call runs that PromptKD learns from: methods on the teacher, no rows beside those of students."""
TINY = ("tinysat", "tinysat_v2", "tinysat_sketch", "tinysat_r", "tinycloth", "tinyworld")
"""Data sets whose students are the shipped ones: each method's config there is called tiny."""


@dataclass(frozen=True)
class Test:
    """A test of what was trained, on its own data set (``dataset`` is empty) or on others.

    Args:
        part: folder of these runs.
        classes: all, base or new.
        datasets: where it is tested; empty: where it was trained.
    """

    part: str
    classes: str
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """A config, by rule.

    Args:
        config: stem of a file in ``configs/trainers/<method>``.
        options: KEY -> value, beside it.
        note: where nothing is published, what it is.
    """

    config: str
    options: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Taught:
    """What trains the teacher that a method learns from.

    Args:
        trainer, config: of the teacher.
        key: names the teacher's run to the method.
    """

    trainer: str
    config: str
    key: str


@dataclass(frozen=True)
class Protocol:
    """One protocol.

    Args:
        name: of its file.
        sources: data sets that are trained on, by their config files.
        shots: labelled images a class; several make several runs.
        folder: of the training runs, below the output folder.
        classes: that are trained.
        tests: beside the test that each training ends with.
        methods: those of the paper's table.
        boosting, configs: rules, the first that fits counts: ``method``, ``dataset`` and ``shots`` may be given as one
            or several; what is not given fits all.
        record: what records call the training.
        teachers: rules of what trains a method's teacher, as ``configs``.
    """

    name: str
    sources: tuple[str, ...]
    shots: tuple[int, ...]
    folder: str
    classes: str
    tests: tuple[Test, ...]
    methods: tuple[str, ...]
    boosting: tuple[Mapping[str, Any], ...]
    configs: tuple[Mapping[str, Any], ...]
    record: str
    teachers: tuple[Mapping[str, Any], ...] = ()

    def config(self, method: str, dataset: str, shots: int) -> Choice:
        """The config of a method, in this protocol, else in base to new.

        Raises:
            CasPLError: there is none for it.
        """
        tiny = dataset in TINY
        base = read_protocol("base2new")
        # A cascade's own setting of base to new comes before the plain method's setting here.
        for one in unwrapped(method):
            for protocol in (self, base):
                found = _first(protocol.configs, one, dataset, shots)
                if found is not None and tiny:
                    return Choice("tiny")
                if found is not None:
                    note = "" if protocol is self else "no setting is published: that of base to new"
                    return Choice(found.config, found.options, note)
        hint = did_you_mean(method, [name for rule in base.configs for name in _several(rule["method"])])
        raise CasPLError(f"no default config for {method}: {hint}set CFG to a file name in configs/trainers, or a path")

    def teacher(self, method: str, dataset: str) -> Taught | None:
        """What trains the teacher of a method; None where it has none.

        Raises:
            CasPLError: it has one, but on other data sets than those that it was trained on the method is not known.
        """
        plain = unwrapped(method)[-1]
        for rule in read_protocol("base2new").teachers:
            if rule["method"] == plain and any(test.datasets for test in self.tests):
                raise CasPLError(
                    f"{plain} learns from unlabelled images of the data set that it is tested on: there is no run of "
                    f"it for {self.name}; train on each data set, with {rule['key']} of one teacher (docs/labels.md)"
                )
            if rule["method"] == plain:
                config = "tiny_teacher" if dataset in TINY else rule["config"]
                return Taught(rule["trainer"], config, rule["key"])
        return None

    def boosting_config(self, method: str, dataset: str) -> str:
        """The config of phase 1 that a method's boosting tokens come from."""
        found = _first(self.boosting, method.removeprefix(PREFIX), dataset, 0)
        assert found is not None, "the last rule fits all"
        return "tiny" if dataset in TINY else found.config


def _first(rules: Sequence[Mapping[str, Any]], method: str, dataset: str, shots: int) -> Choice | None:
    for rule in rules:
        asked = {"method": method, "dataset": dataset, "shots": shots}
        if all(value in _several(rule[key]) for key, value in asked.items() if key in rule):
            return Choice(rule["config"], {key: str(value) for key, value in rule.get("options", {}).items()})
    return None


def worded(value: str) -> str:
    """A value as folders and labels call it."""
    return "".join(letter for letter in value if letter.isalnum() or letter in ".+-")


def _several(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def did_you_mean(method: str, plain: Iterable[str]) -> str:
    """A question, if a method or cascade is spelled nearly as one of these plain methods; else nothing."""
    head = PREFIX if method.startswith(PREFIX) else ""
    found = near(method.removeprefix(PREFIX), plain)
    return f"did you mean {head}{found[0]}? Else " if found else ""


def shipped(folder: str = "") -> list[str]:
    """The YAML files that come with the library, in this folder of protocols or in one below it, without .yaml."""
    found = (path.name for path in (resources.files("caspl.protocols") / folder).iterdir())
    return sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml"))


def read_shipped(name: str, folder: str = "") -> Any:
    """The content of one of them."""
    path = resources.files("caspl.protocols") / folder / f"{name}.yaml"
    return parse_yaml(path.read_text(encoding="utf-8"))


def names() -> list[str]:
    """The protocols that there are."""
    return shipped()


@cache
def read_protocol(name: str) -> Protocol:
    """A protocol by its name.

    Raises:
        CasPLError: there is none of this name.
    """
    if name not in names():
        raise CasPLError(f"there is no protocol {name!r}: {hint(name, names())}")
    content = read_shipped(name)
    train = content["train"]
    tests = [Test(test["part"], test["classes"], tuple(test.get("datasets", ()))) for test in content["tests"]]
    return Protocol(
        name=name,
        sources=tuple(content["sources"]),
        shots=tuple(content["shots"]),
        folder=train["folder"],
        classes=train["classes"],
        tests=tuple(tests),
        methods=tuple(content["methods"]),
        boosting=tuple(content["boosting"]),
        configs=tuple(content["configs"]),
        record=train["record"],
        teachers=tuple(content.get("teachers", ())),
    )


def unwrapped(method: str) -> list[str]:
    """A method's name and those that it has without its wrappers: ``CasPL_KDPL_X``, ``KDPL_X``, ``X``."""
    names = [method]
    for prefix in (PREFIX, *TAUGHT):
        if names[-1].startswith(prefix):
            names.append(names[-1].removeprefix(prefix))
    return names
