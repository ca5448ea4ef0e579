"""``hf://owner/name[@revision][/file or folder]``: what others have put on the Hugging Face Hub, as a path.

``huggingface_hub`` fetches and keeps the files; they are read as local ones are, by readers that run nothing in them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from caspl.errors import CasPLError, first_line

SCHEME = "hf://"
KINDS = ("*.safetensors", "predictor.json", "*calibration.json", "model*.pth.tar*", "checkpoint")
"""Names of the files that are fetched of a repository, in any of its folders: those that a model is read from."""
PATTERN = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/]+))?(?:/(?P<inside>.+?))?/?")


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path names something on the hub."""
    return os.fspath(path).startswith("hf:/")  # of the two strokes, pathlib takes one for the other


def local(path: str | os.PathLike[str]) -> Path:
    """A path as it is, or that of what it names on the hub, fetched if it is not there yet.

    Returns:
        A file, or the folder of a run or of an exported predictor. A repository that holds one boosting file and no
        model beside it is that file.

    Raises:
        CasPLError: the name is none, there is no such repository or file, or the hub cannot be reached.
    """
    if not is_remote(path):
        return Path(path).expanduser()
    name = SCHEME + os.fspath(path).removeprefix("hf:").lstrip("/")
    parts = PATTERN.fullmatch(name.removeprefix(SCHEME))
    if parts is None or ".." in Path(parts["inside"] or "").parts:
        raise CasPLError(f"{name} is no name on the hub: it is like hf://owner/name or hf://owner/name/folder/file")
    repo, revision, inside = parts["repo"], parts["revision"], parts["inside"] or ""
    file = inside.endswith((".safetensors", ".json")) or ".pth.tar" in inside
    folder, _, pattern = inside.rpartition("/") if file else (inside, "", "")
    before = f"{folder}/" if folder else ""
    if pattern and not pattern.startswith("predictor."):  # that has two files
        return Path(_fetched(name, "hf_hub_download", repo, inside, revision=revision))
    kinds = [f"{before}{deeper}{kind}" for kind in KINDS for deeper in ("", "*/")]
    root = Path(_fetched(name, "snapshot_download", repo, revision=revision, allow_patterns=kinds))
    return _model(name, root / folder)


def _model(name: str, folder: Path) -> Path:
    """What a fetched folder is.

    Raises:
        CasPLError: it is no model, or several.
    """
    if (folder / "predictor.json").is_file() or (folder / "checkpoint").is_file() or any(folder.glob("*/checkpoint")):
        return folder
    files = sorted([*folder.rglob("*.safetensors"), *folder.rglob("model*.pth.tar*")])
    files = [file for file in files if file.name != "predictor.safetensors"]
    if len(files) == 1:
        return files[0]
    shown = ", ".join(file.relative_to(folder).as_posix() for file in files[:5])
    raise CasPLError(
        f"{name} holds no model of this library: a boosting file, an exported predictor or a run's folder"
        if not files
        else f"{name} holds {len(files)} files: name one, e.g. {name.rstrip('/')}/{shown.partition(', ')[0]} ({shown})"
    )


def _fetched(name: str, function: str, *arguments: str, **options: Any) -> str:
    """The place of what a function of the hub's library fetches.

    Raises:
        CasPLError: saying what is wrong.
    """
    try:
        import huggingface_hub as hub
        from huggingface_hub import errors
    except ImportError as error:
        raise CasPLError(f"{name} needs huggingface_hub: pip install huggingface_hub") from error
    try:
        return str(getattr(hub, function)(*arguments, **options))
    except errors.GatedRepoError as error:
        raise CasPLError(f"{name} is for those whom its owner lets in: ask there, then hf auth login") from error
    except errors.RepositoryNotFoundError as error:
        raise CasPLError(f"there is no {name} on the hub; if it is private: hf auth login") from error
    except errors.RevisionNotFoundError as error:
        raise CasPLError(f"{name} has no revision {options.get('revision')}") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise CasPLError(
            f"{name} is not on this machine and the hub cannot be reached: fetch it where there is a network, or give "
            "the folder that you have"
        ) from error
    except errors.EntryNotFoundError as error:
        raise CasPLError(f"{name} is not there: the repository has no such file") from error
    except (errors.HFValidationError, ValueError) as error:
        raise CasPLError(f"{name} is no name on the hub: {first_line(error)}") from error
    except OSError as error:  # of the network, and of the disk
        raise CasPLError(f"{name} cannot be fetched ({first_line(error)}): try again, or give a folder") from error
