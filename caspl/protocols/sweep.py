"""A table of one's own: methods and data sets of a protocol, times the values of some settings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from caspl.errors import CasPLError
from caspl.protocols.protocol import read_protocol, worded
from caspl.protocols.request import Request

LISTS = ("datasets", "methods", "seeds", "shots", "targets")
KEYS = ("protocol", *LISTS, "options", "vary", "vary_boosting", "boosting_seed")
VALIDATED = ("TRAINER.RECORD.VALIDATE", "True")
"""Where settings vary, runs are tested on their validation images too, so that one can be chosen."""


def requests_of(content: Mapping[str, Any], name: str, request: Request) -> list[Request]:
    """One request for each combination of values.

    Args:
        content: ``protocol``, and perhaps ``datasets``, ``methods``, ``seeds``, ``shots``, ``targets``, ``options``
            (KEY: value, of the adapting runs), ``boosting_seed`` (of phase 1; ``same``: each run's own), and KEY ->
            list of values in ``vary`` (of the adapting runs) and ``vary_boosting`` (of phase 1).
        name: of the table.
        request: what the command line asks for; it counts where it says something.

    Raises:
        CasPLError: the content is none of these.
    """
    _check(content, name)

    def listed(name: str) -> tuple[Any, ...]:
        return tuple(content.get(name, ()))

    filled = replace(
        request,
        protocol=read_protocol(content["protocol"]),
        datasets=request.datasets or listed("datasets"),
        methods=request.methods or listed("methods"),
        targets=request.targets or listed("targets"),
        shots=request.shots or listed("shots"),
        seeds=request.seeds or listed("seeds"),
        boosting_seed=request.boosting_seed if request.boosting_seed is not None else _boosting_seed(content),
    )
    given = _words(tuple((key, str(value)) for key, value in content.get("options", {}).items()))
    made = []
    for boosting in _combinations(content.get("vary_boosting", {})):
        for adapting in _combinations(content.get("vary", {})):
            made.append(
                replace(
                    filled,
                    suffix="".join(f"_{_named(*pair)}" for pair in adapting),
                    boosting_suffix="".join(f"_{_named(*pair)}" for pair in boosting),
                    options=(*given, *filled.options, *(VALIDATED if boosting or adapting else ()), *_words(adapting)),
                    boosting_options=(*filled.boosting_options, *_words(boosting)),
                )
            )
    return made


def _check(content: Mapping[str, Any], table: str) -> None:
    if not isinstance(content.get("protocol"), str) or set(content) - set(KEYS):
        raise CasPLError(f"the table {table} must hold protocol, and no other keys than {', '.join(KEYS[1:])}")
    if _boosting_seed(content) is not None and type(_boosting_seed(content)) is not int:
        raise CasPLError(f"the table {table}: boosting_seed is a number, or same: that of each run")
    for name in KEYS[1:-1]:
        if name == "options":
            given = content.get(name, {})
            if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
                raise CasPLError(f"the table {table}: options holds KEY: value")
            continue
        varies = name.startswith("vary")
        value = content.get(name, {} if varies else [])
        fits = isinstance(value, Mapping if varies else list) and all(isinstance(key, str) for key in value if varies)
        lists = value.values() if isinstance(value, Mapping) else ()
        if not fits or not all(isinstance(values, list) and values for values in lists):
            raise CasPLError(f"the table {table}: {name} holds {'KEY: [values]' if varies else 'a list'}")
        wrong = [one for one in value if name in ("seeds", "shots") and type(one) is not int]
        if wrong:
            raise CasPLError(f"the table {table}: {name} are numbers, not {wrong[0]!r}")
        odd = [one for one in value if name in ("datasets", "methods", "targets") and not isinstance(one, str)]
        if odd or (name in content and not value):
            what = f"not {odd[0]!r}" if odd else "and not empty"
            raise CasPLError(f"the table {table}: {name} holds names or numbers, {what}")


def _boosting_seed(content: Mapping[str, Any]) -> Any:
    given = content.get("boosting_seed")
    return -1 if given == "same" else given


def _combinations(vary: Mapping[str, list[Any]]) -> list[tuple[tuple[str, str], ...]]:
    """Each choice of one value a key."""
    choices = [[(key, str(value)) for value in values] for key, values in vary.items()]
    return list(itertools.product(*choices))


def _words(pairs: tuple[tuple[str, str], ...]) -> list[str]:
    return [word for pair in pairs for word in pair]


def _named(key: str, value: str) -> str:
    """A setting as folders call it: ``TRAINER.CASPL.TEMPERATURE 2`` is temperature2."""
    return key.rpartition(".")[2].lower().replace("_", "-") + worded(value)
