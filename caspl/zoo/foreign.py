"""Models of open_clip's whose towers are other libraries': built, filled from a file, and their tokenizers."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from caspl.errors import CasPLError, first_line
from caspl.towers import read_state_dict


def config_of(architecture: str) -> Mapping[str, Any]:
    """What open_clip knows of an architecture.

    Raises:
        CasPLError: it knows none of that name; near ones are named.
    """
    import open_clip

    config = open_clip.get_model_config(architecture)
    if config is None:
        near = difflib.get_close_matches(architecture, open_clip.list_models(), n=3)
        hint = f"; near are {', '.join(near)}" if near else " (see open_clip.list_models())"
        raise CasPLError(f"open_clip knows no architecture {architecture}{hint}")
    found: Mapping[str, Any] = config
    return found


def from_file(architecture: str, path: str) -> Any:
    """A model of an architecture with the weights of a file, as open_clip writes them; in float32 on the CPU.

    Raises:
        CasPLError: the file cannot be read safely, or is of another model; or the architecture cannot be built.
    """
    import open_clip

    state = read_state_dict(path)
    try:
        # open_clip draws weights before the file's are loaded: a run's seed must not notice, nor its reader be warned.
        with torch.random.fork_rng(devices=[]), _quiet():
            model = open_clip.create_model(architecture, pretrained_text=False, device="cpu", precision="fp32").eval()
    except Exception as error:  # those of timm and transformers, which may ask a hub for a config
        raise CasPLError(f"open_clip cannot build {architecture} here: {first_line(error)}") from error
    try:
        model.load_state_dict(state)
    except RuntimeError as error:  # which lists all keys
        own = model.state_dict()
        missing, further = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        shaped = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
        wrong = next((key for key in (*missing, *further, *sorted(shaped))), "its keys")
        raise CasPLError(
            f"{path} holds no weights of {architecture} as open_clip writes them: look at {wrong}"
        ) from error
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def side(model: Any, name: str) -> int:
    """Side in pixels of the images that a model takes.

    Raises:
        CasPLError: they are not square.
    """
    size = model.visual.image_size
    height, width = size if isinstance(size, tuple | list) else (size, size)
    if height != width:
        raise CasPLError(f"{name} takes images of {height} x {width} pixels: as a teacher it must take square ones")
    return int(height)


def tokenizer(architecture: str) -> Callable[[list[str]], Tensor]:
    """The tokenizer of an architecture.

    Raises:
        CasPLError: it comes from a hub and cannot be had.
    """
    import open_clip

    try:
        found: Callable[[list[str]], Tensor] = open_clip.get_tokenizer(architecture)
    except Exception as error:  # network, hub and tokenizers' own errors
        text = config_of(architecture)["text_cfg"]
        source = text.get("hf_tokenizer_name") or "a hub"
        raise CasPLError(
            f"the tokenizer of {architecture} could not be loaded ({type(error).__name__}): it comes from {source} and "
            "is kept in the hub's cache once it has been downloaded; do that where there is a network"
        ) from error
    return found
