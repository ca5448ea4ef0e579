"""Before hours are spent: are weights and data the published ones, and is zero-shot CLIP on them the paper's?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from run_once import RESULT
from yacs.config import CfgNode

from caspl.data import PUBLISHED
from caspl.data.check import check
from caspl.protocols import Part, Request, Run, plan, read_protocol
from caspl.results import paper_figures, read_record
from caspl.zoo.openai import OPENAI, find_file

MOST = 0.5
"""Points that zero-shot CLIP may differ from the paper's by without a word."""

FOLDER = "preflight"
"""Of these zero-shot runs, in the output."""


def findings(configs: Iterable[CfgNode]) -> list[str]:
    """What is not as published, one sentence each.

    Args:
        configs: of the runs to come.
    """
    places: dict[tuple[str, str], None] = {}
    clips: dict[str, None] = {}
    for cfg in configs:
        places[cfg.DATASET.NAME, cfg.DATASET.ROOT] = None
        clips[cfg.MODEL.BACKBONE.NAME] = None
        if cfg.TRAINER.NAME == "CasPL":
            clips[cfg.TRAINER.CASPL.TEACHER] = None
    known = {one.name: one for one in PUBLISHED.values()}
    found = [
        f"{name}: {sentence}"
        for name, root in places
        if name in known
        for sentence in check(known[name], Path(root).expanduser())
    ]
    return found + [sentence for name in clips if name in OPENAI for sentence in _weights(name)]


def _weights(name: str) -> list[str]:
    """Whether the file of a model in a user's folder is OpenAI's."""
    from open_clip.pretrained import get_pretrained_url

    path = find_file(name)
    if path is None:
        return []  # then open_clip downloads it, and looks itself
    if path.suffix != ".pt":
        return [f"{name} is read from {path}, which is not OpenAI's own file: figures may differ from published ones"]
    expected = get_pretrained_url(OPENAI[name][0], "openai").split("/")[-2]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read())
    if digest.hexdigest() != expected:
        return [f"{path} is not OpenAI's file of {name} (SHA-256 {digest.hexdigest()[:8]}..., not {expected[:8]}...)"]
    return []


def zero_shot(parts: Iterable[Part], output: Path) -> list[Run]:
    """Zero-shot CLIP on base and new classes of the published data sets that a table trains on, in a folder apart: a
    table's own zero-shot runs may have settings of their own."""
    stems = {published.stem for published in PUBLISHED.values()}
    requests = [request for part in parts for request in part.requests if not request.plugins]
    names = [name for request in requests for name in request.datasets or request.protocol.sources if name in stems]
    if not names:
        return []
    first = requests[0]
    datasets = tuple(dict.fromkeys(names))
    base2new = read_protocol("base2new")
    return plan(Request(base2new, first.configs, output / FOLDER, datasets=datasets, methods=("ZeroshotCLIP",)))


def lost(parts: Iterable[Part], output: Path) -> list[str]:
    """The data sets, by their config files, on which zero-shot CLIP has not run to its end."""
    missing = [run for run in zero_shot(parts, output) if not (run.folder / RESULT).is_file()]
    return list(dict.fromkeys(run.folder.parts[-5] for run in missing))


def compare(runs: Sequence[Run]) -> list[str]:
    """Zero-shot CLIP beside the paper's CLIP, one sentence for each difference above half a point.

    Args:
        runs: of any methods; those that are not zero-shot CLIP are passed over.
    """
    said = []
    for run in runs:
        path = run.folder / RESULT
        if "ZeroshotCLIP" not in run.arguments or not path.is_file():
            continue
        record = read_record(path)
        figures = paper_figures.base_to_new(record.dataset, "ZeroshotCLIP")
        if figures is None or record.accuracy is None or record.classes == "all":
            continue
        theirs = figures[record.classes == "new"]
        if abs(record.accuracy - theirs) > MOST:
            said.append(
                f"zero-shot CLIP on the {record.classes} classes of {record.dataset} is {record.accuracy:.2f}, the "
                f"paper's {theirs:.2f}: look at weights, templates and data before you go on"
            )
    return said
