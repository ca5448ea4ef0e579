"""Boosting files: the tokens that phase 1 learned and the header that says what they belong to.

A file is a ``.safetensors`` with two tensors at most, ``text`` and ``vision``, each (depth, length, width), and
one metadata entry, a JSON header. Reading one runs nothing. Format 2 added what ``description`` to ``steps`` say; files
of format 1 are read too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from caspl import __version__
from caspl.errors import CasPLError
from caspl.files import write_atomically
from caspl.files.parse import parse_json
from caspl.towers import CLIP
from caspl.towers.weights import TYPES
from caspl.zoo import require_student

FORMAT = 2
KEY = "caspl.boosting"


@dataclass(frozen=True)
class Header:
    """What boosting tokens were made from.

    Args:
        student, student_hash: name and weights hash of the CLIP that carries the tokens.
        teacher: name of the CLIP that was distilled.
        dataset: name of the data set that the tokens are for; its class names are in the softmax.
        classnames: names in the softmax, base and new.
        template: text template of the teacher.
        seed, epochs, temperature: of the run.
        recipe: hash of all settings of the run; empty if unknown.
        images: data set whose training images were seen; empty: that of ``dataset``.
        description: how the prompts are built (:meth:`caspl.prompts.Prompts.describe`).
        split: digest of the data set's split; empty if unknown.
        pixels: preprocessing of the images (:meth:`caspl.pixels.Pixels.as_dict`).
        teacher_hash: weights hash of the teacher; empty if unknown.
        steps: of the run; 0 if unknown.
        library: version that wrote the file.
        format: version of the file format.
    """

    student: str
    student_hash: str
    teacher: str
    dataset: str
    classnames: tuple[str, ...]
    template: str
    seed: int
    epochs: int
    temperature: float
    recipe: str = ""
    images: str = ""
    description: Mapping[str, Any] | None = None
    split: str = ""
    pixels: Mapping[str, Any] | None = None
    teacher_hash: str = ""
    steps: int = 0
    library: str = __version__
    format: int = FORMAT

    @property
    def classnames_hash(self) -> str:
        return names_hash(self.classnames)


@dataclass(frozen=True)
class BoostingFile:
    """Boosting tokens with their header; a tower without tokens has None."""

    header: Header
    text: Tensor | None
    vision: Tensor | None
    path: Path = field(default=Path())

    def require_student(self, student: str, student_hash: str) -> None:
        """Refuse a student that the tokens were not made for.

        Raises:
            CasPLError: in one sentence, naming both students.
        """
        made_for = (self.header.student, self.header.student_hash)
        require_student(f"the tokens of {self.path}", made_for, (student, student_hash))

    def require_towers(self, clip: CLIP) -> None:
        """Refuse tokens that the towers cannot hold; see :func:`require_towers`."""
        require_towers(str(self.path), self.text, self.vision, clip)


def require_towers(what: str, text: Tensor | None, vision: Tensor | None, clip: CLIP) -> None:
    """Refuse tokens that a student's towers cannot hold.

    Args:
        what: whose tokens, e.g. a file's name.
        text, vision: (depth, length, width) tokens of a tower, or None.

    Raises:
        CasPLError: naming sizes of both.
    """
    sizes = clip.sizes
    for tower, tokens, layers, width in (
        ("text", text, sizes.text_layers, sizes.text_width),
        ("vision", vision, sizes.vision_layers, sizes.vision_width),
    ):
        if tokens is not None and (tokens.shape[0] > layers or tokens.shape[2] != width):
            raise CasPLError(
                f"{what} has {tower} tokens of width {tokens.shape[2]} in {tokens.shape[0]} layers, but the "
                f"{tower} tower has width {width} and {layers} layers"
            )


def names_hash(classnames: Sequence[str]) -> str:
    """Short SHA-256 of a list of class names, order included."""
    return hashlib.sha256("\n".join(classnames).encode()).hexdigest()[:16]


def write_boosting(path: str | Path, header: Header, text: Tensor | None, vision: Tensor | None) -> Path:
    """Write a boosting file atomically.

    Args:
        text, vision: (depth, length, width) tokens of a tower, or None.
    """
    from safetensors.torch import save

    given = {"text": text, "vision": vision}
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in given.items() if value is not None}
    content = json.dumps(asdict(header) | {"classnames_hash": header.classnames_hash}, sort_keys=True)
    whole = save(tensors, metadata={KEY: content})
    return write_atomically(path, lambda temporary: Path(temporary).write_bytes(whole))


def read_boosting(path: str | Path) -> BoostingFile:
    """Read a boosting file.

    Raises:
        CasPLError: if the file is missing, broken, of another kind or of a newer format.
    """
    from safetensors import safe_open

    path = Path(path)
    if not path.is_file():
        raise CasPLError(f"no boosting file at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    except Exception as error:
        raise CasPLError(f"{path} is not a boosting file of this library (or is broken): {error}") from error
    if KEY not in metadata:
        raise CasPLError(f"{path} is a .safetensors file, but not a boosting file: it has no {KEY} header")
    header = _parse_header(path, metadata[KEY])
    if not set(tensors) <= {"text", "vision"}:
        raise CasPLError(f"{path} is a damaged boosting file: it holds {', '.join(sorted(tensors))}")
    for name, value in tensors.items():
        if value.dim() != 3 or 0 in value.shape or not value.is_floating_point() or value.dtype not in TYPES:
            raise CasPLError(
                f"{path} is a damaged boosting file: its {name} tokens are {value.dtype} {tuple(value.shape)}, "
                "not numbers (depth, length, width)"
            )
        if not value.isfinite().all():
            raise CasPLError(f"{path} holds {name} tokens that are not finite numbers: that phase 1 has diverged")
    return BoostingFile(header, tensors.get("text"), tensors.get("vision"), path)


def _check_types(header: Header) -> None:
    """Refuse a header whose entries are of other types than were written.

    Raises:
        TypeError: naming one.
    """
    wanted: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "tuple[str, ...]": tuple}
    for item in fields(Header):
        value = getattr(header, item.name)
        if not isinstance(value, wanted.get(str(item.type), (dict, type(None)))) or isinstance(value, bool):
            raise TypeError(f"{item.name} is {type(value).__name__}")
    if not all(isinstance(name, str) for name in header.classnames):
        raise TypeError("a class name is no text")


def _parse_header(path: Path, text: str) -> Header:
    try:
        content = parse_json(text)
        if content["format"] > FORMAT:
            raise CasPLError(f"{path} has format {content['format']}, this library reads up to {FORMAT}: upgrade caspl")
        values = {item.name: content[item.name] for item in fields(Header) if item.name in content}
        header = Header(**(values | {"classnames": tuple(values["classnames"])}))
        _check_types(header)
        whole = header.classnames_hash == content["classnames_hash"]
    except (ValueError, TypeError, KeyError) as error:
        raise CasPLError(f"{path} is a damaged boosting file: its header cannot be read ({error})") from error
    if not whole:
        raise CasPLError(f"{path} is a damaged boosting file: its header contradicts itself")
    return header
