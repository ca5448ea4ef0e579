"""Weights files, and what they do not tell of themselves: activation and heads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor

from caspl.errors import CasPLError
from caspl.towers import Sizes, read_state_dict
from caspl.towers.weights import is_archive, read_header

SUFFIXES = (".pt", ".pth", ".safetensors", ".bin")
"""Of weights files."""
TEXT_KEYS = ("width", "heads", "layers")
PUBLISHED = ("ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-336")
"""Architectures of OpenAI's models."""


@dataclass(frozen=True)
class Weights:
    """Weights, and what they do not tell of themselves.

    Args:
        state_dict: in OpenAI's format.
        activation, heads: see :meth:`CLIP.from_state_dict`.
    """

    state_dict: Mapping[str, Tensor]
    activation: str = "quick_gelu"
    heads: tuple[int, int] = (0, 0)


def from_file(path: Path) -> Weights:
    """A file by its path alone: OpenAI's, or one that says how it is to be read.

    Raises:
        CasPLError: for any other; read as OpenAI's, its features could be nonsense.
    """
    said = read_header(path) if path.is_file() else None
    if said is not None:
        return Weights(read_state_dict(path), **said)
    state = read_state_dict(path)
    if is_archive(path) or _is_published(path):
        return Weights(state)
    raise CasPLError(
        f"{path} does not say with which activation and how many heads it was trained: name its open_clip architecture "
        f"too, ARCHITECTURE:{path}, such as ViT-B-16:{path}, or ViT-B-16-quickgelu:{path} for a model fine-tuned from "
        "OpenAI's"
    )


def of_architecture(architecture: str, config: Mapping[str, Any], path: str) -> Weights:
    """A file of the weights of one of open_clip's architectures.

    Args:
        architecture: its name.
        config: as open_clip describes it.
        path: of the file.

    Raises:
        CasPLError: if the towers are other libraries', or if the file's have other sizes.
    """
    vision, text = config["vision_cfg"], config["text_cfg"]
    needed = [vision.get("layers"), vision.get("width"), vision.get("patch_size"), *(text.get(k) for k in TEXT_KEYS)]
    if not all(isinstance(number, int) for number in needed):
        raise CasPLError(f"{architecture} is not a CLIP of the classic layout: its towers are other libraries'")
    state = read_state_dict(path)
    heads = (vision["width"] // vision.get("head_width", 64), text["heads"])
    sizes = Sizes.of(state)
    expected = {"embed_dim": config["embed_dim"], "patch": vision["patch_size"]}
    for tower, said in (("vision", vision), ("text", text)):
        expected |= {f"{tower}_width": said["width"], f"{tower}_layers": said["layers"]}
    wrong = [
        f"{key} {getattr(sizes, key)} instead of {value}"
        for key, value in expected.items()
        if getattr(sizes, key) != value
    ]
    if wrong:
        raise CasPLError(f"{path} is no {architecture}: it has {', '.join(wrong)}")
    return Weights(state, "quick_gelu" if config.get("quick_gelu") else "gelu", heads)


def _is_published(path: Path) -> bool:
    """Whether a file has the SHA-256 of one of OpenAI's."""
    import open_clip

    urls = (open_clip.get_pretrained_url(architecture, "openai") for architecture in PUBLISHED)
    with path.open("rb") as file:
        digest = _digest(file)
    return any(digest in url.split("/") for url in urls)


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(2**20):
        digest.update(block)
    return digest.hexdigest()
