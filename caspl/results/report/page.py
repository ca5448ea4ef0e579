"""The page: what is told in its head, and how its parts become HTML."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from caspl.results.report.groups import groups
from caspl.results.report.methods import is_gain
from caspl.results.report.parts import command
from caspl.results.report.runs import Run, find_runs, readable
from caspl.results.report.sections import absent, sections
from caspl.results.tables import Cell, Figure, Table
from caspl.results.words import WORDS, require_records

ABSENT = "unknown"


def page(folder: str) -> str:
    """The whole page of the runs below a folder; the same records make the same page.

    Raises:
        CasPLError: there is no such folder, or no record in it.
    """
    runs = find_runs(Path(folder))
    records = require_records([run.record for run in runs], folder)
    shown = readable(folder)
    parts = sections(records, shown)
    script = _file("page.js")
    return _template().render(
        folder=shown,
        head=head(runs),
        sections=parts,
        absent=absent(parts),
        groups=groups(runs, shown),
        runs=runs,
        command=command("report", f"./{shown}" if shown in WORDS else shown),
        style=Markup(_file("page.css")),
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def head(runs: Sequence[Run]) -> dict[str, Any]:
    """What the runs have in common: when, how many, where, which seeds."""
    records = [run.record for run in runs]
    machines = Counter(
        ", ".join(
            part
            for part in (
                str(record.hardware.get("device", "")),
                str(record.hardware.get("cpu", "")),
                f"{record.hardware['cores']} cores" if record.hardware.get("cores") else "",
            )
            if part
        )
        or ABSENT
        for record in records
    )
    versions = Counter(
        ", ".join(f"{name} {version}" for name, version in sorted(record.versions.items()) if version) or ABSENT
        for record in records
    )
    return {
        "newest": max(record.finished for record in records) or ABSENT,
        "oldest": min((record.finished for record in records if record.finished), default=ABSENT),
        "runs": len(records),
        "seeds": sorted({record.seed for record in records}),
        "machines": machines.most_common(),
        "versions": versions.most_common(),
        "commits": Counter(record.commit or ABSENT for record in records).most_common(),
        "hours": sum(sum(record.seconds.values()) for record in records) / 3600,
    }


def bodies(table: Table) -> list[list[Sequence[Cell]]]:
    """Rows that are sorted as one: a method with the gains below it."""
    made: list[list[Sequence[Cell]]] = []
    for row in table.rows:
        if made and is_gain(row):
            made[-1].append(row)
        else:
            made.append([row])
    return made


def _template() -> jinja2.Template:
    room = jinja2.Environment(
        loader=jinja2.FunctionLoader(_file),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    room.globals["bodies"] = bodies
    room.tests["figure"] = lambda cell: isinstance(cell, Figure)
    room.filters["svg"] = Markup  # a Drawing's alone, in which all names are escaped
    return room.get_template("page.html.j2")


def _file(name: str) -> str:
    return (resources.files("caspl.results.report") / "web" / name).read_text(encoding="utf-8")
