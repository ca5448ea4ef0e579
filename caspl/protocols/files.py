"""The config files that a request names, and what tells its runs from others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from caspl.errors import CasPLError, near
from caspl.files.parse import parse_yaml
from caspl.protocols.protocol import did_you_mean, unwrapped
from caspl.protocols.request import Request


@dataclass(frozen=True)
class DatasetFile:
    """A data set, by its file."""

    name: str  # of its folder in the output
    config: Path
    registered: str  # DATASET.NAME

    @classmethod
    def find(cls, name: str, configs: Path) -> DatasetFile:
        """The one of a name or path.

        Raises:
            CasPLError: there is none.
        """
        path = Path(name) if name.endswith(".yaml") else configs / "datasets" / f"{name}.yaml"
        if not path.is_file():
            there = sorted(other.stem for other in path.parent.glob("*.yaml"))
            found = near(path.stem, there)
            hint = f"did you mean {found[0]}?" if found else f"there are: {' '.join(there)}"
            raise CasPLError(f"unknown data set {name}; {hint}")
        content = parse_yaml(path.read_text(encoding="utf-8"))
        registered = ((content or {}).get("DATASET") or {}).get("NAME", "")
        return cls(path.stem, path, str(registered))


def config_file(configs: Path, method: str, name: str) -> Path:
    """The file of a config; ``CasPL_X``, ``KDPL_X`` or ``FDBPL_X`` without one of its own takes X's.

    Raises:
        CasPLError: there is none.
    """
    if name.endswith(".yaml"):
        if not Path(name).is_file():
            raise CasPLError(f"no config file {name} (CFG)")
        return Path(name)
    names = unwrapped(method)
    plain = names[-1]
    folders = [configs / "trainers" / one for one in names]
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
