"""A table that somebody asks for, by name or as a file of their own: the requests it takes, and how it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from caspl.errors import CasPLError, hint
from caspl.files.parse import parse_yaml
from caspl.protocols.ablations import FOLDER, Ablations, ablation_tables, ablations_of, read_ablations
from caspl.protocols.plan import plan, together
from caspl.protocols.protocol import names, read_protocol, read_shipped, shipped
from caspl.protocols.request import Request, Run
from caspl.protocols.sweep import requests_of

OWN = (".yaml", ".yml")
ABLATIONS = "ablations"
"""Folder, in the output, of their runs: what they vary would crowd the tables of the protocol."""
ASKED = ("datasets", "methods", "shots", "targets")
"""What of a part of several somebody may ask for."""


@dataclass(frozen=True)
class Part:
    """Runs that one command shows.

    Args:
        requests: what is run.
        shown: a protocol, or a table of ablations.
        ablations: which of them; empty where it is a protocol.
        chosen: whether settings vary, so that one of them is to be chosen on validation images.
    """

    requests: tuple[Request, ...]
    shown: str
    ablations: tuple[str, ...] = ()
    chosen: bool = False


def table_names() -> list[str]:
    """Everything that can be asked for by name."""
    return [*names(), *packaged()]


def packaged() -> list[str]:
    """The tables of several parts, and those of ablations, that come with the library."""
    return shipped(FOLDER)


def parts_of(table: str, request: Request, only: Sequence[str] = ()) -> list[Part]:
    """The parts of a table.

    Args:
        table: its name, or the path of a YAML file.
        request: what else the command line asks for; it counts where it says something.
        only: names of ablations; empty: all.

    Raises:
        CasPLError: there is no such table, or it cannot be read.
    """
    if table in names():
        _none(only, table)
        return [Part((replace(request, protocol=read_protocol(table)),), table)]
    if table in packaged():
        return _parts(read_shipped(table, FOLDER), table, request, only)
    if table.endswith(OWN):
        return _parts(read_table(Path(table)), table, request, only)
    raise CasPLError(f"there is no table {table!r}: {hint(table, table_names(), ', or a .yaml of your own')}")


def plan_all(parts: Sequence[Part]) -> list[Run]:
    """The runs of several parts, none twice.

    Raises:
        CasPLError: two runs of different settings would share a folder.
    """
    return together(run for part in parts for request in part.requests for run in plan(request))


def read_table(path: Path) -> Mapping[str, Any]:
    """The content of a file.

    Raises:
        CasPLError: it cannot be read, or holds no mapping.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CasPLError(f"the table {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise CasPLError(f"the table {path} must hold protocol, ablations or parts; see docs/reproduce.md")
    return content


def _parts(content: Mapping[str, Any], name: str, request: Request, only: Sequence[str]) -> list[Part]:
    if isinstance(content.get("ablations"), Mapping):
        return [_ablated(ablations_of(content, name), request, only)]
    if "parts" not in content:
        _none(only, name)
        return [_swept(content, name, request)]
    parts = content["parts"]
    tables = isinstance(parts, list) and all(isinstance(one, Mapping) for one in parts)
    if not parts or not tables or set(content) != {"parts"}:
        raise CasPLError(f"the table {name}: parts is a list of tables, and stands alone")
    made = [part for one in parts for part in _part(one, name, request, only)]
    if not made:
        raise CasPLError(f"the table {name} has nothing of what is asked for")
    return made


def _part(content: Mapping[str, Any], name: str, request: Request, only: Sequence[str]) -> list[Part]:
    """What is asked for of one part of several; empty where that is nothing."""
    asked = {key: getattr(request, key) for key in ASKED if getattr(request, key)}
    if "ablations" not in content:
        kept = {key: [one for one in content.get(key, values) if one in values] for key, values in asked.items()}
        if only or not all(kept.values()) or ("targets" in asked and "targets" not in content):
            return []
        return [_swept({**content, **kept}, name, replace(request, datasets=(), methods=(), shots=(), targets=()))]
    if asked:
        return []
    table, keys = content["ablations"], {"ablations", "only", "seeds"}
    lists = all(isinstance(content.get(key, []), list) for key in ("only", "seeds"))
    numbers = lists and all(type(one) is int for one in content.get("seeds", []))
    words = lists and all(isinstance(one, str) for one in content.get("only", []))
    if table not in ablation_tables() or set(content) - keys or not (numbers and words):
        what = f"one of {', '.join(ablation_tables())}, only: [names] and seeds: [numbers]"
        raise CasPLError(f"the table {name}: a part of ablations names {what}")
    seeds = request.seeds or tuple(content.get("seeds", ()))
    here = tuple(content.get("only", ()))
    names = tuple(one for one in here or read_ablations(table).tables if one in only) if only else here
    return [_ablated(read_ablations(table), replace(request, seeds=seeds), names)] if names or not only else []


def _swept(content: Mapping[str, Any], name: str, request: Request) -> Part:
    found = requests_of(content, name, request)
    varies = any(one.suffix or one.boosting_suffix for one in found)
    return Part(tuple(found), found[0].protocol.name, chosen=varies)


def _ablated(ablations: Ablations, request: Request, only: Sequence[str]) -> Part:
    below = replace(request, output=request.output / ABLATIONS)
    return Part(tuple(ablations.requests(only, below)), ablations.name, tuple(only) or tuple(ablations.tables))


def _none(only: Sequence[str], table: str) -> None:
    if only:
        raise CasPLError(f"{table} has no ablations: leave --only out")
