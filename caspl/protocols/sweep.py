"""A table of one's own: methods and data sets of a protocol, times the values of some settings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from caspl.errors import CasPLError
from caspl.files.parse import parse_yaml
from caspl.protocols.plan import Request, Run, plan, together
from caspl.protocols.protocol import read_protocol

KEYS = ("protocol", "datasets", "methods", "seeds", "shots", "targets", "vary", "vary_boosting")


def requests_of(path: Path, request: Request) -> list[Request]:
    """One request for each combination of values.

    Args:
        path: a YAML file with ``protocol``, and perhaps ``datasets``, ``methods``, ``seeds``, ``shots``, ``targets``,
            and ``vary`` (of the adapting runs) and ``vary_boosting`` (of phase 1): KEY -> list of values.
        request: what the command line asks for; it counts where it says something.

    Raises:
        CasPLError: the file is none of these.
    """
    content = read_table(path)

    def listed(name: str) -> tuple[Any, ...]:
        return tuple(content.get(name, ()))

    filled = replace(
        request,
        protocol=read_protocol(content["protocol"]),
        datasets=request.datasets or listed("datasets"),
        methods=request.methods or listed("methods"),
        targets=request.targets or listed("targets"),
        shots=request.shots or listed("shots"),
        seeds=request.seeds or listed("seeds") or (1,),
    )
    made = []
    for boosting in _combinations(content.get("vary_boosting", {})):
        for adapting in _combinations(content.get("vary", {})):
            made.append(
                replace(
                    filled,
                    suffix="".join(f"_{_named(*pair)}" for pair in adapting),
                    boosting_suffix="".join(f"_{_named(*pair)}" for pair in boosting),
                    options=(*filled.options, *_words(adapting)),
                    boosting_options=(*filled.boosting_options, *_words(boosting)),
                )
            )
    return made


def plan_all(requests: list[Request]) -> list[Run]:
    """The runs of several requests, none twice.

    Raises:
        CasPLError: two runs of different settings would share a folder.
    """
    return together(run for request in requests for run in plan(request))


def read_table(path: Path) -> dict[str, Any]:
    """The content of a table's file, checked.

    Raises:
        CasPLError: it is no such file.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CasPLError(f"the table {path} cannot be read: {error}") from error
    if not isinstance(content, dict) or "protocol" not in content or set(content) - set(KEYS):
        raise CasPLError(f"the table {path} must hold protocol, and no other keys than {', '.join(KEYS[1:])}")
    for name in KEYS[1:]:
        varies = name.startswith("vary")
        value = content.get(name, {} if varies else [])
        fits = isinstance(value, Mapping if varies else list)
        lists = value.values() if isinstance(value, Mapping) else ()
        if not fits or not all(isinstance(values, list) and values for values in lists):
            raise CasPLError(f"the table {path}: {name} holds {'KEY: [values]' if varies else 'a list'}")
        wrong = [one for one in value if name in ("seeds", "shots") and type(one) is not int]
        if wrong:
            raise CasPLError(f"the table {path}: {name} are numbers, not {wrong[0]!r}")
    return content


def _combinations(vary: Mapping[str, list[Any]]) -> list[tuple[tuple[str, str], ...]]:
    """Each choice of one value a key."""
    choices = [[(key, str(value)) for value in values] for key, values in vary.items()]
    return list(itertools.product(*choices))


def _words(pairs: tuple[tuple[str, str], ...]) -> list[str]:
    return [word for pair in pairs for word in pair]


def _named(key: str, value: str) -> str:
    """A setting as folders call it: ``TRAINER.CASPL.TEMPERATURE 2`` is temperature2."""
    kept = "".join(letter for letter in value if letter.isalnum() or letter in ".+-")
    return key.rpartition(".")[2].lower().replace("_", "-") + kept
