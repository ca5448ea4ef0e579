"""A run's folder belongs to one config: going on with other settings in it would mix two runs silently."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from yacs.config import CfgNode

from caspl.dassl.outcome import LATER, Sections, settings
from caspl.errors import CasPLError
from caspl.files import write_atomically, write_json
from caspl.files.parse import parse_json

CONTENTS = "contents.json"
"""Beside ``config.yaml``: what files that settings name held."""


def keep_settings(cfg: CfgNode, sections: Sections, contents: Mapping[str, str] | None = None) -> None:
    """Write ``OUTPUT_DIR/config.yaml`` for a training run.

    Args:
        sections: what the trainer reads, see :mod:`caspl.dassl.outcome`.
        contents: KEY -> digest of what the file that it names holds; kept in ``OUTPUT_DIR/contents.json``.

    Raises:
        CasPLError: if the folder, or the one in RESUME, holds a run of other settings; if RESUME holds none.
    """
    here = settings(cfg.dump(), sections)
    own = Path(cfg.OUTPUT_DIR)
    if cfg.RESUME and not _begun(Path(cfg.RESUME)):
        raise CasPLError(f"there is nothing to resume in {cfg.RESUME}")
    for folder in dict.fromkeys((own, Path(cfg.RESUME or own))):
        if _begun(folder):
            _compare(folder, here, sections, contents or {})
            require_same_contents(contents or {}, folder)
    write_atomically(own / "config.yaml", lambda path: Path(path).write_text(cfg.dump(), encoding="utf-8"))
    if contents:
        write_json(own / CONTENTS, dict(contents))


def require_same_contents(contents: Mapping[str, str], folder: str | Path) -> None:
    """Refuse to go on with, or to evaluate, a run whose settings named files with other contents.

    Args:
        contents: KEY -> digest; what the run has not kept is not judged.
        folder: of the run.

    Raises:
        CasPLError: naming the KEY.
    """
    path = Path(folder) / CONTENTS
    try:
        there = parse_json(path.read_text(encoding="utf-8")) if path.is_file() else {}
        differing = [key for key, digest in contents.items() if there.get(key, digest) != digest]
    except (OSError, ValueError, AttributeError) as error:
        raise CasPLError(f"{path} cannot be read; use another folder") from error
    if differing:
        raise CasPLError(
            f"{folder} holds a run in which {differing[0]} held something else than it does now: give it what the run "
            "was made with, or use another --output-dir"
        )


def require_same_method(cfg: CfgNode, section: str, folder: Path, free: tuple[str, ...]) -> None:
    """Refuse to evaluate a run as another method, or with other settings of its own.

    Args:
        section: of the method.
        folder: of the run that is evaluated; without a ``config.yaml``, of another program, it is not judged.
        free: keys of the section that may differ.

    Raises:
        CasPLError: naming what differs.
    """
    sections: Sections = {section: None}
    there = _kept(folder, sections)
    here = settings(cfg.dump(), sections)
    may_differ = {f"TRAINER.{section}.{key}" for key in free}
    mine = [key for key in here if key == "TRAINER.NAME" or key.startswith(f"TRAINER.{section}.")]
    differing = [key for key in mine if key not in may_differ and there.get(key, here[key]) != here[key]]
    if differing:
        raise CasPLError(
            f"{folder} was trained with other settings ({_examples(differing, there, here)}); "
            "evaluate it with the config that it was trained with"
        )


def _begun(folder: Path) -> bool:
    return (folder / "resume.pt").is_file() or any(folder.glob("*/checkpoint"))


def _compare(folder: Path, here: dict[str, str], sections: Sections, contents: Mapping[str, str]) -> None:
    """Refuse other settings. Of files that are known by their contents it does not matter where they lie."""
    there = _kept(folder, sections)
    differing = [key for key in here if key in there and there[key] != here[key] and key not in contents]
    differing += [key for key in LATER if there and (key in there) != (key in here)]
    if differing:
        raise CasPLError(
            f"{folder} holds a run of other settings ({_examples(differing, there, here)}); "
            "use another --output-dir, or delete it"
        )


def _kept(folder: Path, sections: Sections) -> dict[str, str]:
    """The settings of the run in a folder; none where another program made it."""
    try:
        return settings((folder / "config.yaml").read_text(encoding="utf-8"), sections)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, AttributeError) as error:
        raise CasPLError(f"{folder / 'config.yaml'} cannot be read; use another folder") from error


def _examples(keys: list[str], there: dict[str, str], here: dict[str, str]) -> str:
    return ", ".join(f"{key} {there.get(key, 'not set')} there, {here.get(key, 'not set')} here" for key in keys[:3])
