"""Published models that open_clip downloads, or describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from caspl.errors import CasPLError
from caspl.towers import CLIP, tokenize
from caspl.zoo.foreign import config_of
from caspl.zoo.weights import SUFFIXES, Weights, of_architecture


def by_architecture(architecture: str, rest: str) -> Weights:
    """``ARCHITECTURE:TAG``, or ``ARCHITECTURE:FILE``.

    Raises:
        CasPLError: if open_clip knows neither, or if the file does not fit.
    """
    name = f"{architecture}:{rest}"
    if Path(rest).suffix not in SUFFIXES:
        return from_open_clip(architecture, rest, name)
    return of_architecture(architecture, config_of(architecture), rest)


def from_open_clip(architecture: str, tag: str, name: str) -> Weights:
    """Download a model, and find out how its weights are to be read.

    Raises:
        CasPLError: if there is no such model, if it cannot be downloaded, or if our towers do not compute what it does.
    """
    found = read_model(create(architecture, tag, name))
    if found is None:
        raise CasPLError(f"{name} is not a CLIP of the classic layout (another pooling, or another text tower)")
    return found


def create(architecture: str, tag: str, name: str) -> Any:
    """Download a model of open_clip's, in float32 on the CPU.

    Raises:
        CasPLError: if there is no such model, or if it cannot be downloaded.
    """
    import open_clip

    config_of(architecture)
    if tag not in open_clip.list_pretrained_tags_by_model(architecture):
        raise CasPLError(f"open_clip has no weights {architecture}:{tag} (see open_clip.list_pretrained())")
    try:
        # open_clip draws weights on the CPU before it loads them; a run's seed must not notice.
        with torch.random.fork_rng(devices=[]):
            return open_clip.create_model(architecture, pretrained=tag, device="cpu", precision="fp32").eval()
    except Exception as error:  # network, disk and hub errors of several libraries
        raise CasPLError(
            f"the weights of {name} could not be downloaded ({type(error).__name__}); {_way_out(architecture, tag)}"
        ) from error


def _way_out(architecture: str, tag: str) -> str:
    if tag == "openai":
        file = architecture.removesuffix("-quickgelu")
        return f"put the file {file}.pt into the folder $CASPL_WEIGHTS or give its path"
    return f"give a file of them, {architecture}:FILE"


def read_model(model: Any) -> Weights | None:
    """The weights of a model of open_clip's; None if our towers do not compute what it does."""
    state = {key: value for key, value in model.state_dict().items() if key != "attn_mask"}
    try:
        towers = (model.visual.transformer, model.transformer)
        heads = (towers[0].resblocks[0].attn.num_heads, towers[1].resblocks[0].attn.num_heads)
    except (AttributeError, IndexError):
        return None
    fitting = (Weights(state, activation, heads) for activation in ("quick_gelu", "gelu"))  # not written in the weights
    return next((found for found in fitting if computes_the_same(model, found)), None)


def computes_the_same(model: Any, weights: Weights) -> bool:
    """Whether our towers, given these weights, compute what open_clip's model does."""
    try:
        ours = CLIP.from_state_dict(weights.state_dict, weights.activation, weights.heads)
    except CasPLError:
        return False
    side = ours.sizes.resolution
    images = torch.linspace(-1, 1, 3 * side * side).view(1, 3, side, side)
    ids = tokenize(["a photo of a cat.", "a dog."], ours.sizes.context_length)
    with torch.no_grad():
        pairs = (
            (ours.encode_image(images), model.encode_image(images)),
            (ours.encode_text(ids), model.encode_text(ids)),
        )
        return all(bool((a - b).abs().max() < 1e-3 * b.abs().max()) for a, b in pairs)
