"""A model card: what a page of a model hub says of a run, a boosting file or a predictor, from its own header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from caspl.errors import CasPLError
from caspl.results.record import FILE_NAME, RunRecord, read_record

PAPER = "https://arxiv.org/abs/2409.17805"
LICENCE = """The weights of CLIP are not part of these files and keep their own licence; whoever loads this needs them.
The licence of these files is for their author to choose: write it into `license:` above."""


def card(said: Mapping[str, Any], path: Path) -> str:
    """Markdown with the front matter that hubs read.

    Args:
        said: what ``caspl info`` says of the model.
        path: of it; a record of a test beside it gives the figures.
    """
    name = path.name if path.is_dir() else path.stem
    student = str(said.get("student", "")).partition(" (")[0]
    trained = dict(said.get("trained on") or said.get("trained_on") or {})
    front = {"library_name": "caspl", "license": "other", "pipeline_tag": "zero-shot-image-classification"}
    tags = ["clip", "prompt-learning", "caspl", *([str(trained["dataset"]).lower()] if trained.get("dataset") else [])]
    what = "A classifier on features" if "classifies" in said else "Prompt tokens"
    lines = ["---", *(f"{key}: {value}" for key, value in front.items()), "tags:", *(f"- {tag}" for tag in tags), "---"]
    lines += ["", f"# {name}", "", f"{what} for CLIP ({student}), a {said['kind']} of [CasPL]({PAPER}).", ""]
    rows = {"student": said.get("student"), **trained, "parameters": said.get("parameters")}
    lines += ["| | |", "|---|---|"]
    lines += [f"| {key} | {_cell(value)} |" for key, value in rows.items() if value not in (None, "", {})]
    classes = list(said.get("classes", []))
    lines += ["", f"## Classes ({len(classes)})", "", ", ".join(classes) or "none are named"]
    lines += ["", "## Figures", "", *_figures(path), "", "## Use", "", "```python", "import caspl", ""]
    if said["kind"] == "boosting file":
        lines += ["# as a model of its own, or within a CLIP of open_clip's or transformers'"]
        lines += [f'model = caspl.load("{path.name}", student="{student}")', f'caspl.attach(clip, "{path.name}")']
    else:
        lines += [f'model = caspl.load("{name}")', 'print(model.predict("picture.jpg")[0].name)']
    return "\n".join([*lines, "```", "", "## Licence", "", LICENCE, ""])


def records_of(path: Path) -> list[RunRecord]:
    """The records of tests in a run's folder; what is none is passed over."""
    found = sorted(path.rglob(FILE_NAME)) + sorted(path.glob("evaluations/*.json")) if path.is_dir() else []
    records = []
    for place in found:
        with suppress(CasPLError):
            records.append(read_record(place))
    return records


def _figures(path: Path) -> list[str]:
    rows = []
    for record in records_of(path):
        accuracy = "-" if record.accuracy is None else f"{record.accuracy:.2f}"
        rows.append(f"| {record.dataset} | {record.classes} | {record.test_images} | {record.seed} | {accuracy} |")
    if not rows:
        return ["None are recorded beside these files."]
    head = ["| tested on | classes | images | seed | accuracy |", "|---|---|---:|---:|---:|"]
    return [*head, *dict.fromkeys(rows)]


def _cell(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, Mapping | list) else str(value)
    return text.replace("|", "\\|")
