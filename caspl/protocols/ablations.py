"""Tables of named settings: what is varied in either phase, on which data sets, and what the paper claims of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

from caspl.errors import CasPLError, hint
from caspl.protocols.protocol import PREFIX, read_protocol, read_shipped, shipped, worded
from caspl.protocols.request import Pairs, Request

RECORD = "ablations"
"""What records call these runs: tables of the protocol leave them out."""
Changes = Mapping[str, str]
"""What labels call a change -> its value."""


class Method(NamedTuple):
    """What records call a run: trainer and config."""

    trainer: str
    config: str


@dataclass(frozen=True)
class Setting:
    """One setting that an ablation compares.

    Args:
        method: the trainer.
        config: stem of its config; empty: the protocol's.
        boosting, adapting: how the phases differ from the shipped ones.
    """

    method: str
    config: str
    boosting: Changes
    adapting: Changes

    @property
    def boosting_suffix(self) -> str:
        """Of the labels of phase 1."""
        return "".join(f"_{name}{_value(value)}" for name, value in self.boosting.items())

    @property
    def suffix(self) -> str:
        """Of the labels of phase 2, but for what they say of phase 1."""
        changed = "".join(f"_{name}{_value(value)}" for name, value in self.adapting.items())
        return f"_adapting{changed}" if changed else ""


@dataclass(frozen=True)
class Claim:
    """``above`` is better than ``below``.

    Args:
        ablation: its name.
        text: the claim in words.
        above: a setting.
        below: settings; several stand for their mean, or with ``best`` for the best of them.
        best: see below.
        measure: hm, base or new.
        paper: the paper's names of ``above`` and ``below`` where it has others.
    """

    ablation: str
    text: str
    above: str
    below: tuple[str, ...]
    best: bool = False
    measure: str = "hm"
    paper: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ablation:
    """Settings that are compared.

    Args:
        name, about: in a word, in words.
        datasets: files in ``configs/datasets``.
        settings: by name; where both phases vary, BOOSTING+ADAPTING.
        values: where both phases vary, those that each takes; else empty.
        claims: what the paper says of them.
    """

    name: str
    about: str
    datasets: tuple[str, ...]
    settings: Mapping[str, Setting]
    values: tuple[str, ...]
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Ablations:
    """Several of them over one protocol.

    Args:
        name: of the table.
        protocol: its name.
        boosting, adapting: what labels call a change -> the KEYs that take its value.
        boosting_seed: of phase 1; negative: the run's own.
        tables: the ablations, by name.
    """

    name: str
    protocol: str
    boosting: Mapping[str, Sequence[str]]
    adapting: Mapping[str, Sequence[str]]
    boosting_seed: int
    tables: Mapping[str, Ablation]

    def method(self, setting: Setting, dataset: str) -> Method:
        """What records call the runs of a setting."""
        protocol = read_protocol(self.protocol)
        label = setting.config or protocol.config(setting.method, dataset, protocol.shots[-1]).config
        if setting.method.startswith(PREFIX) and setting.boosting:
            label += f"_boosting{setting.boosting_suffix}"
        return Method(setting.method, label + setting.suffix)

    def requests(self, names: Sequence[str], request: Request) -> list[Request]:
        """A request for each setting.

        Args:
            names: of ablations; empty: all.
            request: what else is asked for.

        Raises:
            CasPLError: there is no ablation of a name.
        """
        unknown = [name for name in names if name not in self.tables]
        if unknown:
            raise CasPLError(f"there is no ablation {unknown[0]!r}: {hint(unknown[0], self.tables)}")
        if request.methods:
            raise CasPLError(f"{self.name} names its methods itself: leave --methods out")
        known = {one for table in self.tables.values() for one in table.datasets}
        strange = [one for one in request.datasets if one not in known]
        if strange:
            raise CasPLError(f"{self.name} is of {', '.join(sorted(known))}, not of {strange[0]}")
        seed = self.boosting_seed if request.boosting_seed is None else request.boosting_seed
        made = []
        for name in names or self.tables:
            table = self.tables[name]
            if request.datasets and not set(request.datasets) & set(table.datasets):
                continue
            for setting in table.settings.values():
                one = replace(
                    request,
                    protocol=read_protocol(self.protocol),
                    datasets=tuple(one for one in table.datasets if one in (request.datasets or table.datasets)),
                    methods=(setting.method,),
                    config=setting.config,
                    record=RECORD,
                    boosting_suffix=setting.boosting_suffix,
                    boosting_options=(*request.boosting_options, *_pairs(self.boosting, setting.boosting)),
                    boosting_seed=seed,
                    suffix=setting.suffix,
                    options=(*request.options, *_pairs(self.adapting, setting.adapting)),
                )
                made.append(one)
        return made


def _pairs(keys: Mapping[str, Sequence[str]], changes: Changes) -> Pairs:
    return tuple(word for name, value in changes.items() for key in keys[name] for word in (key, value))


def _value(value: str) -> str:
    return "" if value == "True" else worded(value)


PROTOCOL = "base2new"
TOP = ("protocol", "datasets", "boosting_seed", "method", "boosting", "adapting", "unchanged", "ablations")
KEYS = ("about", "datasets", "settings", "grid", "claims")
OF_A_SETTING = ("method", "config", "boosting", "adapting")
FOLDER = "tables"
"""Beside this module."""


def ablation_tables() -> list[str]:
    """The tables of ablations that come with the library."""
    return [name for name in shipped(FOLDER) if name.startswith("ablations")]


@cache
def read_ablations(name: str) -> Ablations:
    """A table of ablations that comes with the library, by its name."""
    return ablations_of(read_shipped(name, FOLDER), name)


def ablations_of(content: Mapping[str, Any], name: str) -> Ablations:
    """From the content of a file.

    Raises:
        CasPLError: something in it is missing, or not what it should be.
    """
    _known(f"the ablations {name}", content, TOP)
    if content.get("protocol", PROTOCOL) != PROTOCOL:
        raise CasPLError(f"the ablations {name} are of {content['protocol']}: their tables are of {PROTOCOL} alone")
    try:
        tables = {key: _ablation(key, value, content) for key, value in content["ablations"].items()}
        made = Ablations(
            name=name,
            protocol=content["protocol"],
            boosting=content["boosting"],
            adapting=content["adapting"],
            boosting_seed=-1 if content.get("boosting_seed") == "same" else int(content.get("boosting_seed", 1)),
            tables=tables,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CasPLError(f"the ablations {name} cannot be read, at {error}; see docs/ablations.md") from error
    for table in tables.values():
        for setting in table.settings.values():
            for changes, keys in ((setting.boosting, made.boosting), (setting.adapting, made.adapting)):
                unknown = [change for change in changes if change not in keys]
                if unknown:
                    raise CasPLError(f"the ablation {table.name} changes {unknown[0]}, whose KEYs are not named")
    return made


def _ablation(name: str, content: Mapping[str, Any], whole: Mapping[str, Any]) -> Ablation:
    _known(f"the ablation {name}", content, KEYS)
    if not content.get("settings") and not content.get("grid"):
        raise CasPLError(f"the ablation {name} has neither settings nor a grid")
    values: tuple[str, ...] = ()
    settings = {str(key): _setting(value, whole) for key, value in content.get("settings", {}).items()}
    if "grid" in content:
        ((change, grid),) = content["grid"].items()
        values = tuple(str(value) for value in grid)
        settings = {
            f"{one}+{other}": _setting({"boosting": {change: one}, "adapting": {change: other}}, whole)
            for one in values
            for other in values
        }
    datasets = tuple(content.get("datasets", whole["datasets"]))
    claims = tuple(_claim(name, claim, settings) for claim in content.get("claims", ()))
    return Ablation(name, content["about"], datasets, settings, values, claims)


def _setting(content: Mapping[str, Any], whole: Mapping[str, Any]) -> Setting:
    _known("a setting of an ablation", content, OF_A_SETTING)
    method = content.get("method", whole["method"])
    shipped = whole.get("unchanged", {})

    def changed(phase: str, part: str) -> dict[str, str]:
        before = {key: str(value) for key, value in shipped.get(part, {}).items()}
        return {key: str(value) for key, value in content.get(phase, {}).items() if before.get(key) != str(value)}

    return Setting(method, content.get("config", ""), changed("boosting", "boosting"), changed("adapting", method))


def _known(what: str, content: Mapping[str, Any], keys: Sequence[str]) -> None:
    if not isinstance(content, Mapping):
        raise CasPLError(f"{what} holds {', '.join(keys)}, not {content!r}")
    unknown = [str(key) for key in content if key not in keys]
    if unknown:
        raise CasPLError(f"{what} has no key {unknown[0]!r}: {hint(unknown[0], keys)}")


def _claim(ablation: str, content: Mapping[str, Any], settings: Mapping[str, Setting]) -> Claim:
    best = content.get("best", "")
    above = best or content["above"]
    below = tuple(name for name in settings if name != best) if best else tuple(content["below"])
    unknown = [name for name in (above, *below) if name not in settings]
    if unknown:
        raise KeyError(f"the setting {unknown[0]} of a claim of {ablation}")
    return Claim(
        ablation,
        content["text"],
        above,
        below,
        bool(best),
        content.get("measure", "hm"),
        tuple(content.get("paper", ())),
    )
