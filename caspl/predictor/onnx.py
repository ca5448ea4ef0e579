"""A predictor for other programs: the image tower, and the text tower where names stay open, as ONNX.

``image.onnx``: pixels (batch, 3, size, size) -> logits (batch, classes) and features (batch, embed_dim), normalised.
``text.onnx``: token ids (names, tokens) and the place of the end token (names,) -> features (names, embed_dim);
the ids are those of the name with all behind it, as :func:`name_ids` gives them, padded with zeros. Both are checked
against onnxruntime when they are written.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.classifier import Classifier
from caspl.errors import CasPLError
from caspl.files import write_atomically
from caspl.model import PromptedCLIP
from caspl.predictor.merged import require_mergeable
from caspl.prompts import Described, TextCascade
from caspl.prompts.given import GivenTexts
from caspl.towers.text import TextTower

MOST_OFF = 1e-4
"""Largest difference of features that is taken, of the logits times their scale."""
IMAGE, TEXT = "image.onnx", "text.onnx"


def export_onnx(folder: str | Path, classifier: Classifier, size: int, model: PromptedCLIP | None = None) -> list[Path]:
    """Write a classifier, and its text tower where the texts allow it; returns the files.

    Args:
        folder: made if it is not there.
        classifier: of texts that do not depend on the image; on the CPU, in float32.
        size: side of its pictures.
        model: what it was made from; None writes the image tower alone.

    Raises:
        CasPLError: if the texts depend on the image, a library is missing, or onnxruntime computes something else.
    """
    _require()
    require_mergeable(classifier)
    pixels = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0)) * 4 - 2
    batch = torch.export.Dim("batch", min=1, max=2**16)
    made = [
        _write(
            Path(folder) / IMAGE,
            _Image(classifier).eval(),
            {"pixels": pixels},
            {"pixels": {0: batch}},
            ["logits", "features"],
            [float(classifier.scale), 1.0],
        )
    ]
    if model is not None and open_text(model) is None:
        cascade = model.text
        assert isinstance(cascade, TextCascade)
        names = torch.export.Dim("names", min=1, max=2**16)
        inputs = dict(zip(("ids", "end"), name_ids(model, model.text.classnames), strict=True))
        if len(inputs["end"]) < 2:
            inputs = {key: value.repeat_interleave(2, dim=0) for key, value in inputs.items()}
        tower = _Text(model.clip.text, cascade).eval()
        made.append(_write(Path(folder) / TEXT, tower, inputs, dict.fromkeys(inputs, {0: names}), ["features"], [1.0]))
    return made


def open_text(model: PromptedCLIP) -> str | None:
    """Why a model's text tower takes no other names in an ONNX file; None where it does."""
    text = model.text
    if isinstance(text, GivenTexts):
        return "its class features are a teacher's"
    if not isinstance(text, TextCascade):
        return "it averages several texts a class"
    if any(isinstance(segment, Described) for segment in text.segments.values()):
        return "its texts come from a file"
    if text.samples:
        return "its tokens are drawn in several samples"
    if text.conditional:
        return "its texts depend on the image"
    if any(getattr(segment, "class_specific", False) for segment in text.segments.values()):
        return "its tokens are class-specific"
    if text.after:
        return "its tokens stand behind the class name"
    return None


def name_ids(model: PromptedCLIP, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """What ``text.onnx`` takes of class names: ids (names, tokens), as wide as the tower allows, and ends (names,)."""
    own = list(model.text.classnames)
    cascade = model.text
    assert isinstance(cascade, TextCascade)
    try:
        model.set_classes(names)
        room = model.clip.sizes.context_length - _head(cascade)
        return F.pad(cascade.name_ids, (0, room - cascade.name_ids.shape[1])), cascade.name_end.clone()
    finally:
        model.set_classes(own)


class _Image(nn.Module):
    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        image = self.classifier.encode_image(pixels)
        return self.classifier.classify(image) if self.classifier.head is None else self.classifier(pixels), image


class _Text(nn.Module):
    """The text tower with its tokens, whose classes come as ids."""

    def __init__(self, tower: TextTower, cascade: TextCascade) -> None:
        super().__init__()
        self.tower, self.cascade = tower, cascade

    def forward(self, ids: Tensor, end: Tensor) -> Tensor:
        return F.normalize(self.cascade.of_ids(self.tower, ids, end).float(), dim=-1)


def _head(cascade: TextCascade) -> int:
    """Positions before the class name."""
    return 1 + sum(cascade._length(index, piece) for index, piece in enumerate(cascade.before))


def _require() -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise CasPLError(f"ONNX needs {name}: pip install 'caspl[onnx]', or '.[onnx]' in the checkout") from error


def _write(
    path: Path,
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    dynamic: Mapping[str, Any],
    outputs: Sequence[str],
    scales: Sequence[float],
) -> Path:
    """Export, check and write one module.

    Raises:
        CasPLError: if onnxruntime computes something else, by more than :data:`MOST_OFF` times the scale of an output.
    """
    level = logging.getLogger("torch.onnx").level
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter, on its own parts
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            program = torch.onnx.export(
                module,
                tuple(inputs.values()),
                dynamo=True,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=tuple(dynamic.values()),
                verbose=False,
            )
        finally:
            logging.getLogger("torch.onnx").setLevel(level)
        assert program is not None
        whole = program.model_proto.SerializeToString()
        _check(path, whole, module, inputs, scales)
    return write_atomically(path, lambda temporary: Path(temporary).write_bytes(whole))


def _check(path: Path, whole: bytes, module: nn.Module, inputs: Mapping[str, Tensor], scales: Sequence[float]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(whole, providers=["CPUExecutionProvider"])
    for count in (None, 1):  # the batch that was traced, and another
        given = {key: value[:count] for key, value in inputs.items()}
        theirs = session.run(None, {key: value.numpy() for key, value in given.items()})
        ours = module(*given.values())
        ours = ours if isinstance(ours, tuple) else (ours,)
        for mine, other, scale in zip(ours, theirs, scales, strict=True):
            off = float(np.abs(mine.numpy() - other).max()) / scale
            if not off <= MOST_OFF:
                raise CasPLError(f"{path.name} was not written: onnxruntime's numbers differ by {off:.1e} from ours")
