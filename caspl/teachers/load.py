"""The encoder behind a name: in our towers where they compute the same, else wrapped."""

from __future__ import annotations

from pathlib import Path

from caspl.pixels import pixels_of, published_pixels
from caspl.step.precision import Precision
from caspl.teachers.encoder import CLIPEncoder, Encoder
from caspl.teachers.foreign import OpenClipEncoder
from caspl.towers import CLIP
from caspl.zoo import foreign, load_clip, weights_hash
from caspl.zoo.names import architecture_of
from caspl.zoo.published import create, read_model
from caspl.zoo.weights import SUFFIXES, is_classic


def load_encoder(name: str, precision: Precision) -> Encoder:
    """Load a frozen encoder onto a precision's device.

    Args:
        name: what :func:`caspl.zoo.load_clip` takes, and ``ARCHITECTURE:TAG`` or ``ARCHITECTURE:FILE`` of any model of
            open_clip's.
        precision: in which it computes.

    Raises:
        CasPLError: for an unknown name, weights that cannot be had, or a tokenizer that cannot.
    """
    architecture, rest = architecture_of(name)
    if not architecture:
        return _own(load_clip(name), name, precision)
    if Path(rest).suffix in SUFFIXES:
        if is_classic(foreign.config_of(architecture)):
            return _own(load_clip(name), name, precision)
        model = foreign.from_file(architecture, rest)
        pixels = published_pixels(architecture, "", foreign.side(model, name))
    else:
        model = create(architecture, rest, name)
        weights = read_model(model)
        if weights is not None:
            clip = CLIP.from_state_dict(weights.state_dict, weights.activation, weights.heads).freeze()
            return _own(clip, name, precision)
        pixels = published_pixels(architecture, rest, foreign.side(model, name))
    return OpenClipEncoder(model, foreign.tokenizer(architecture), name, pixels, precision)


def _own(clip: CLIP, name: str, precision: Precision) -> CLIPEncoder:
    identity, pixels = weights_hash(clip), pixels_of(name, clip.sizes)
    return CLIPEncoder(precision.place(clip), name, pixels, identity)
