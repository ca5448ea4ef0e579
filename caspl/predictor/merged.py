"""A predictor as two files: weights and tokens in safetensors, all else in JSON. Reading one runs nothing.

``predictor.safetensors`` holds the image tower under OpenAI's names (``visual.``), the values of its tokens
(``tokens.<segment>.<layer>``), what changes its features (``heads.<segment>``), the matrix of class features, or one
for each sample of them, or what classifies in their place (``classifies.``), and the scale; ``predictor.json`` says how
they fit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caspl import __version__
from caspl.checkpoint import below
from caspl.classifier import Classifier
from caspl.errors import CasPLError, first_line
from caspl.files import write_atomically
from caspl.files.parse import parse_json
from caspl.head import Head
from caspl.pixels import Pixels
from caspl.predictor.calibration import place_of
from caspl.probe import head_of
from caspl.prompts import Norms
from caspl.prompts.beside import Beside
from caspl.prompts.describe import segments_of
from caspl.prompts.segment import Fixed
from caspl.prompts.vision import VisionCascade
from caspl.towers import Sizes
from caspl.towers.block import ACTIVATIONS
from caspl.towers.vision import VisionTower

FORMAT = 3
"""Of files whose head classifies; 2 of those with heads in a tower or samples; others are 1, for earlier readers."""
CLASSIFIES = "classifies."
WEIGHTS, HEADER = "predictor.safetensors", "predictor.json"
LARGEST = 10**6  # of any size that a header states; a tower of more is none


def is_merged(path: Path) -> bool:
    """Whether a path is a merged predictor: its folder, or one of its files."""
    return (path / HEADER).is_file() or (path.name in (HEADER, WEIGHTS) and path.is_file())


def require_mergeable(classifier: Classifier, what: str = "this model") -> None:
    """Refuse a classifier that needs its text tower.

    Raises:
        CasPLError: saying what it needs instead.
    """
    if classifier.texts is not None:
        raise CasPLError(
            f"the texts of {what} depend on the image, so that there is no matrix of class features to merge: it needs "
            "its text tower for every picture; use caspl.load on the run itself"
        )


def write_merged(
    folder: str | Path, classifier: Classifier, sizes: Sizes, activation: str, pixels: Pixels, about: Mapping[str, Any]
) -> Path:
    """Write a classifier; returns the folder.

    Args:
        folder: made if it is not there.
        classifier: of texts that do not depend on the image.
        sizes, activation: of its CLIP.
        pixels: preprocessing of its pictures.
        about: what else is to be known, as plain JSON.

    Raises:
        CasPLError: if the texts depend on the image, or the folder cannot be written.
    """
    from safetensors.torch import save

    require_mergeable(classifier)
    folder = Path(folder)
    tensors: dict[str, Tensor] = {f"visual.{key}": value for key, value in classifier.visual.state_dict().items()}
    tensors |= {f"visual.{key}": value for norms in _norms(classifier) for key, value in norms.merged().items()}
    segments = [segment for segment in classifier.vision.segments.values() if isinstance(segment, Fixed)]
    heads = [one for one in classifier.vision.segments.values() if isinstance(one, Beside) and not one.pairs]
    tensors |= {f"heads.{one.name}.{key}": value for one in heads for key, value in one.state_dict().items()}
    for segment in segments:
        tensors |= {f"tokens.{segment.name}.{layer}": segment.tokens(layer) for layer in range(segment.depth)}
    tensors |= {"scale": classifier.scale}
    if classifier.head is None:
        assert classifier.features is not None
        tensors |= {"features": classifier.features}
    else:
        tensors |= {f"{CLASSIFIES}{key}": value for key, value in classifier.head.state_dict().items()}
    whole = save({key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()})
    header = {
        "format": _format(classifier, bool(heads)),
        "library": __version__,
        "classes": list(classifier.classnames),
        "sizes": sizes.as_dict() | {"vision_heads": sizes.heads[0], "text_heads": sizes.heads[1]},
        "activation": activation,
        "pixels": pixels.as_dict(),
        "tokens": [segment.describe_sizes() for segment in segments],
        "about": dict(about),
    }
    if classifier.head is not None:
        header["classifies"] = classifier.head.kind
    if heads:
        header["heads"] = {one.name: one.describe() for one in heads}
    place_of(folder).unlink(missing_ok=True)  # a temperature of what was here before
    write_atomically(folder / WEIGHTS, lambda temporary: Path(temporary).write_bytes(whole))
    text = json.dumps(header, indent=1, ensure_ascii=False) + "\n"
    write_atomically(folder / HEADER, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))
    return folder


def read_merged(path: str | Path) -> tuple[Classifier, Pixels, dict[str, Any]]:
    """Read what :func:`write_merged` wrote: the classifier, the preprocessing of its pictures, and what is known of it.

    Raises:
        CasPLError: if it is damaged or of a newer format.
    """
    from safetensors.torch import load_file

    path = Path(path)
    folder = path if path.is_dir() else path.parent
    try:
        header = parse_json((folder / HEADER).read_text(encoding="utf-8"))
        if not isinstance(header, dict) or not isinstance(header.get("format"), int):
            raise ValueError("it does not say its format")
    except (OSError, ValueError) as error:
        raise CasPLError(f"{folder / HEADER} is no header of a predictor: {first_line(error)}") from error
    if header["format"] > FORMAT:
        raise CasPLError(f"{folder} has format {header['format']}, this library reads up to {FORMAT}: upgrade caspl")
    try:
        tensors = load_file(folder / WEIGHTS)
        classifier = _built(header, tensors)
        pixels = Pixels.from_dict(header["pixels"], str(folder))
        return classifier, pixels, dict(header.get("about") or {})
    except CasPLError:
        raise
    except Exception as error:  # a damaged file can fail in any way
        raise CasPLError(
            f"{folder} is a damaged predictor ({type(error).__name__}: {first_line(error)}): export it again"
        ) from error


def _format(classifier: Classifier, heads: bool) -> int:
    if classifier.head is not None:
        return FORMAT
    return 2 if heads or (classifier.features is not None and classifier.features.dim() > 2) else 1


def _norms(classifier: Classifier) -> list[Norms]:
    """Norms in the place of the tower's own."""
    return [segment for segment in classifier.vision.segments.values() if isinstance(segment, Norms)]


def _built(header: Mapping[str, Any], tensors: dict[str, Tensor]) -> Classifier:
    said = {key: int(value) for key, value in header["sizes"].items()}
    if any(not 0 <= value <= LARGEST for value in said.values()) or header["activation"] not in ACTIVATIONS:
        raise ValueError("its sizes or its activation cannot be")
    sizes = Sizes(**said)
    names, scale = [str(name) for name in header["classes"]], tensors.pop("scale")
    if not names or scale.dim():
        raise ValueError(f"{len(names)} classes, and a scale of shape {tuple(scale.shape)}")
    if not all(value.isfinite().all() for value in (scale, *tensors.values())):
        raise ValueError("it holds numbers that are not finite")
    if Pixels.from_dict(header["pixels"], "it").size != sizes.resolution:
        raise ValueError("its pictures are not of the tower's resolution")
    segments = [Fixed.of_values(said, _layers(said, tensors, sizes)) for said in header["tokens"]]
    with torch.device("meta"):
        tower = VisionTower(sizes, header["activation"])
        heads = segments_of(header.get("heads") or {})
    for name, head in heads.items():
        if not isinstance(head, Beside):
            raise TypeError(f"{name} is no head")
        own = {key: value.float() for key, value in below(tensors, f"heads.{name}.").items()}
        head.load_state_dict(own, strict=True, assign=True)
    behind, features = _classifies(header, tensors, float(scale)), tensors.pop("features", None)
    if (features is None) == (behind is None):
        raise ValueError("either features of classes or a head classify")
    known = (behind.classes, behind.width) if behind is not None else _sizes(features)
    cascade = VisionCascade([*segments, *heads.values()])
    width = cascade.widened(sizes.embed_dim)
    if known != (len(names), width):
        raise ValueError(f"{len(names)} classes and {width} features of an image, but {known} of what classifies")
    tower.load_state_dict(below(tensors, "visual."), strict=True, assign=True)
    features = None if features is None else features.float()
    made = Classifier(tower, cascade, names, scale.float(), features, head=behind)
    return made.requires_grad_(False).eval()


def _classifies(header: Mapping[str, Any], tensors: Mapping[str, Tensor], scale: float) -> Head | None:
    if "classifies" not in header:
        return None
    return head_of("it", str(header["classifies"]), below(tensors, CLASSIFIES), scale)


def _sizes(features: Tensor | None) -> tuple[int, int]:
    assert features is not None
    if not (features.dim() == 2 or (features.dim() == 4 and features.shape[0] == 1)):
        raise ValueError(f"features of classes of shape {tuple(features.shape)}")
    return features.shape[-2], features.shape[-1]


def _layers(said: Mapping[str, Any], tensors: Mapping[str, Tensor], sizes: Sizes) -> list[Tensor]:
    depth = len(said["lengths"])
    if not 1 <= depth <= sizes.vision_layers:
        raise ValueError(f"tokens in {depth} layers of {sizes.vision_layers}")
    layers = [tensors[f"tokens.{said['name']}.{layer}"] for layer in range(depth)]
    if any(value.dim() != 2 or value.shape[1] != sizes.vision_width for value in layers):
        raise ValueError(f"tokens {said['name']} of another width than the tower's")
    return layers
