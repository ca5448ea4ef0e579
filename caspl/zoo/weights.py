"""Weights files, and what they do not tell of themselves: activation and heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from caspl.errors import CasPLError
from caspl.towers import Sizes, read_state_dict
from caspl.towers.weights import is_archive, read_header

SUFFIXES = (".pt", ".pth", ".safetensors", ".bin")
"""Of weights files."""
TEXT_KEYS = ("width", "heads", "layers")
CLASSIC = {*TEXT_KEYS, "context_length", "vocab_size"}
VOCABULARY = 49408  # CLIP's own


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
    if is_archive(path):  # all of OpenAI's are
        return Weights(state)
    raise CasPLError(
        f"{path} does not say with which activation and how many heads it was trained: name its open_clip architecture "
        f"too, ARCHITECTURE:{path}, such as ViT-B-16:{path}, or ViT-B-16-quickgelu:{path} for a model fine-tuned from "
        "OpenAI's"
    )


def is_classic(config: Mapping[str, Any]) -> bool:
    """Whether one of open_clip's architectures is a CLIP of the classic layout, by what it says of itself."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    needed = [vision.get("layers"), vision.get("width"), vision.get("patch_size"), *(text.get(k) for k in TEXT_KEYS)]
    own_words = text.keys() <= CLASSIC and text.get("vocab_size", VOCABULARY) == VOCABULARY
    return own_words and all(isinstance(number, int) for number in needed)


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
    if not is_classic(config):
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
    activation = "quick_gelu" if config.get("quick_gelu") else "gelu"
    if activation == "gelu" and is_archive(Path(path)):
        raise CasPLError(f"{path} is an archive as OpenAI publishes: name it {architecture}-quickgelu:{path}, or alone")
    header = read_header(path)
    if header is not None and (header["activation"], header["heads"]) != (activation, heads):
        said = f"{header['activation']} and {header['heads']} heads, {architecture} means {activation} and {heads}"
        raise CasPLError(f"{path} says {said}: name the file alone")
    return Weights(state, activation, heads)
