"""From a path to a predictor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from caspl.build import build_headed, build_model, read_built
from caspl.errors import CasPLError
from caspl.hub import local
from caspl.pixels import Pixels, pixels_of
from caspl.predictor.calibration import read_temperature, tokens_hash
from caspl.predictor.merged import is_merged, read_merged
from caspl.predictor.predictor import Predictor
from caspl.towers import CLIP
from caspl.zoo import load_clip


def load(
    path: str | Path,
    student: str | CLIP | None = None,
    classes: Sequence[str] | None = None,
    epoch: int | None = None,
    device: str | torch.device | None = None,
    precision: str = "fp32",
) -> Predictor:
    """What a run has left, ready for use.

    Args:
        path: a run's folder, a checkpoint in it, a boosting file, or the folder of an exported predictor; also on the
            Hugging Face Hub, ``hf://owner/name``, see :mod:`caspl.hub`.
        student: the CLIP that carries the tokens, or its name, where it is not to be had by the name that the file
            gives. Its weights must be the same.
        classes: other class names than the run's; a boosting file may have none.
        epoch: with a run's folder, the checkpoint to load; by default the best, else the last.
        device: by default a GPU if there is one.
        precision: ``fp32``, ``bf16`` or ``fp16``.

    Raises:
        CasPLError: if there is nothing at that path, if it cannot be built, or if the student is another.
    """
    path = local(path)
    if is_merged(path):
        if student is not None or epoch is not None:
            raise CasPLError(f"{path} is an exported predictor: it holds its student and has no epochs")
        classifier, pixels, about = read_merged(path)
        tokens, own = tokens_hash(classifier.classes_by()), about.get("temperature", 1.0)
        return _chosen(Predictor(classifier, pixels, None, about, device, precision, 1.0, tokens), classes, path, own)
    found = read_built(path, epoch, heads=True)
    clip = student if isinstance(student, CLIP) else load_clip(student or found.student)
    pixels = Pixels.from_dict(found.pixels, str(found.path)) if found.pixels else pixels_of(found.student, clip.sizes)
    about = {
        "student": found.student,
        "student_hash": found.student_hash,
        "trained_on": dict(found.trained_on),
        "source": found.path.name,
    }
    tokens = tokens_hash(found.tensors if found.given is None else {**found.tensors, "given": found.given[1]})
    if found.head:
        made = Predictor(build_headed(found, clip), pixels, None, about, device, precision, 1.0, tokens, clip)
        return _chosen(made, classes, path)
    model = build_model(found, clip, classes).requires_grad_(False)
    temperature = read_temperature(path, tokens, model.text.classnames)
    return Predictor(model.fixed(), pixels, model, about, device, precision, temperature, tokens, clip)


def _chosen(made: Predictor, classes: Sequence[str] | None, path: Path, own: float = 1.0) -> Predictor:
    """A predictor of fixed classes with some of them, and the temperature that holds for these, by default its own."""
    made = made if classes is None else made.set_classes(classes)
    made.temperature = read_temperature(path, made.tokens, made.classes, own)
    return made
