"""A trained model as one object: pictures in, answers, logits or features out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from caspl.build import class_specific
from caspl.classifier import Classifier
from caspl.errors import CasPLError, hint
from caspl.model import PromptedCLIP
from caspl.pixels import Pixels
from caspl.predictor.images import Picture, Transform, batches, pictures_of
from caspl.towers import CLIP

PRECISIONS: dict[str, torch.dtype | None] = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What is computed in; masters, norms and logits stay in float32."""
BATCH = 64


class Answer(NamedTuple):
    """A class and its probability."""

    name: str
    probability: float


class Prediction(NamedTuple):
    """The likeliest classes of a picture, the first first.

    Args:
        picture: what was given.
        answers: (name, probability) of the likeliest.
        known: False where none of them reaches the threshold: none of these classes.
    """

    picture: Picture
    answers: tuple[Answer, ...]
    known: bool = True

    @property
    def name(self) -> str:
        """Of the likeliest class."""
        return self.answers[0].name

    @property
    def probability(self) -> float:
        """Of the likeliest class."""
        return self.answers[0].probability


class Predictor:
    """Made by :func:`caspl.load`.

    Args:
        classifier: what answers.
        pixels: the preprocessing of its pictures.
        model: what the classifier was made from; None where its text tower is not there.
        about: what is known of it, as plain JSON: student, data set, ...
        device: where it computes; by default a GPU if there is one.
        precision: one of :data:`PRECISIONS`.
        temperature: by which logits are divided before the softmax.
        tokens: hash of what it has learned, for which a temperature holds.
        clip: that carries the tokens; None of a merged predictor, which has only its image tower.
    """

    def __init__(
        self,
        classifier: Classifier,
        pixels: Pixels,
        model: PromptedCLIP | None = None,
        about: Mapping[str, Any] | None = None,
        device: str | torch.device | None = None,
        precision: str = "fp32",
        temperature: float = 1.0,
        tokens: str = "",
        clip: CLIP | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise CasPLError(f"unknown precision {precision!r}: {hint(precision, PRECISIONS)}")
        self.classifier, self.model = classifier, model
        self.clip = model.clip if model is not None else clip
        self._whole = classifier if model is None else None  # that has all classes which there are
        self.pixels, self.about = pixels, dict(about or {})
        self.precision, self.temperature, self.tokens = precision, temperature, tokens
        self.transform = Transform(pixels)
        self.device = torch.device("cpu")
        self.to(device if device is not None else "cuda" if torch.cuda.is_available() else "cpu")

    @property
    def classes(self) -> list[str]:
        """Names of the classes, one a column of the logits."""
        return list(self.classifier.classnames)

    def to(self, device: str | torch.device) -> Predictor:
        """Compute elsewhere; returns itself.

        Raises:
            CasPLError: if there is no such device.
        """
        try:
            self.device = torch.device(device)
            for part in (self.model, self.clip, self._whole, self.classifier):
                if isinstance(part, nn.Module):
                    part.to(self.device)
        except (RuntimeError, AssertionError) as error:
            raise CasPLError(f"the device {device!r} cannot be used: take cpu, or one that torch sees") from error
        return self

    def set_classes(self, names: Sequence[str]) -> Predictor:
        """Answer with other classes; returns itself.

        Args:
            names: any, where the tokens allow it; of a merged predictor, or one with a head, some of its own.

        Raises:
            CasPLError: if the tokens are class-specific, or the text tower is not there.
        """
        names = _names(names)
        if self.model is None:
            self.classifier = self._some(names)
            return self
        self._require_open(names)
        self.model.set_classes(names)
        self.classifier = self.model.fixed()
        return self

    def predict(self, pictures: Any, top: int = 5, batch_size: int = BATCH, threshold: float = 0.0) -> list[Prediction]:
        """The likeliest classes of every picture, in order.

        Args:
            pictures: a path, a folder, a PIL image, an array of bytes (height, width, 3), normalised pixels
                ([n,] 3, size, size), or several of them.
            top: how many classes; all if there are fewer.
            batch_size: how many pictures are computed at a time.
            threshold: probability below which an answer is none of the classes.

        Raises:
            CasPLError: if a picture cannot be read.
        """
        return list(self.stream(pictures, top, batch_size, threshold))

    def stream(
        self,
        pictures: Any,
        top: int = 5,
        batch_size: int = BATCH,
        threshold: float = 0.0,
        unread: Callable[[Picture, CasPLError], object] | None = None,
    ) -> Iterator[Prediction]:
        """As :meth:`predict`, one after the other: a folder of any size takes the memory of a batch.

        Args:
            pictures, top, batch_size, threshold: see :meth:`predict`.
            unread: is told of each picture that cannot be read, which is left out; None raises the error.
        """
        if top < 1:
            raise CasPLError(f"at least one class is shown, not {top}")
        for some, logits in self._each(pictures, batch_size, lambda pixels: self.classifier(pixels), unread):
            likely = (logits / self.temperature).softmax(dim=-1).topk(min(top, logits.shape[1]))
            for picture, values, places in zip(some, likely.values.tolist(), likely.indices.tolist(), strict=True):
                answers = [
                    Answer(self.classifier.classnames[place], value)
                    for value, place in zip(values, places, strict=True)
                ]
                yield Prediction(picture, tuple(answers), values[0] >= threshold)

    def logits(self, pictures: Any, batch_size: int = BATCH) -> Tensor:
        """Logits (pictures, classes), float32 on the CPU; arguments as of :meth:`predict`."""
        return self._all(pictures, batch_size, lambda pixels: self.classifier(pixels))

    def encode_image(self, pictures: Any, batch_size: int = BATCH) -> Tensor:
        """Normalised features (pictures, embed_dim), float32 on the CPU; arguments as of :meth:`predict`."""
        return self._all(pictures, batch_size, lambda pixels: self.classifier.encode_image(pixels))

    @torch.no_grad()
    def encode_text(self, names: Sequence[str] | None = None) -> Tensor:
        """Normalised features (names, embed_dim) of class names within the learned tokens, float32 on the CPU.

        Of sampled tokens (1, samples, names, embed_dim).

        Args:
            names: of classes; by default the model's own. The model's own stay as they are.

        Raises:
            CasPLError: if the texts depend on the image, or the text tower is not there.
        """
        if names is None and self.classifier.features is not None:
            return self.classifier.features.cpu()
        if self.classifier.head is not None:
            raise CasPLError(
                "this model classifies by a head behind its image tower: classes have no features; take logits"
            )
        if self.model is None:
            assert names is not None
            found = self._some(_names(names)).features
            assert found is not None
            return found.cpu()
        if self.model.text.conditional:
            raise CasPLError(
                "the texts of this method depend on the image: they have no features of their own; take logits"
            )
        own, wanted = list(self.model.text.classnames), _names(self.classes if names is None else names)
        self._require_open(wanted)
        try:
            self.model.set_classes(wanted)
            with self._computing():
                return self.model.encode_text().cpu()
        finally:
            self.model.set_classes(own)

    def export(self, folder: str | Path, onnx: bool = False) -> Path:
        """Write a merged predictor: image tower with its tokens, class features, preprocessing and names.

        It is read again by :func:`caspl.load`, without the student's weights. Returns the folder.

        Args:
            folder: made if it is not there.
            onnx: also write it for other programs, see :mod:`caspl.predictor.onnx`.

        Raises:
            CasPLError: if the texts depend on the image, if this is a merged predictor already, or if the folder
                cannot be written.
        """
        from caspl.predictor.merged import write_merged

        clip = self.clip
        if clip is None:
            raise CasPLError("this is a merged predictor already: copy its folder")
        about = self.about | {"temperature": self.temperature}
        made = write_merged(folder, self.classifier, clip.sizes, clip.activation, self.pixels, about)
        if onnx:
            from caspl.predictor.onnx import export_onnx

            device = self.device
            try:
                self.to("cpu")
                export_onnx(made, self.classifier, self.pixels.size, self.model)
            finally:
                self.to(device)
        return made

    def _all(self, pictures: Any, batch_size: int, compute: Callable[[Tensor], Tensor]) -> Tensor:
        found = [rows for _, rows in self._each(pictures, batch_size, compute)]
        if not found:
            raise CasPLError("there are no pictures")
        return torch.cat(found)

    def _each(
        self,
        pictures: Any,
        batch_size: int,
        compute: Callable[[Tensor], Tensor],
        unread: Callable[[Picture, CasPLError], object] | None = None,
    ) -> Iterator[tuple[Sequence[Picture], Tensor]]:
        for some, pixels in batches(pictures_of(pictures), self.transform, batch_size, unread):
            with torch.no_grad(), self._computing():
                found = compute(pixels.to(self.device)).float().cpu()
            yield some, found

    def _computing(self) -> AbstractContextManager[object]:
        kind = PRECISIONS[self.precision]
        return nullcontext() if kind is None else torch.autocast(self.device.type, kind)

    def _require_open(self, names: Sequence[str]) -> None:
        """Refuse other classes than those that class-specific tokens were made for."""
        assert self.model is not None
        specific = class_specific(self.model.text)
        if specific and [name.replace("_", " ") for name in names] != list(self.model.text.classnames):
            raise CasPLError(f"the tokens {specific[0]!r} are class-specific: they fit no other classes")

    def _some(self, names: Sequence[str]) -> Classifier:
        """The classifier with some of the classes that there are."""
        whole = self._whole
        assert whole is not None
        places = {name: place for place, name in enumerate(whole.classnames)}
        unknown = [name for name in names if name.replace("_", " ") not in places]
        if unknown:
            if whole.head is not None:
                raise CasPLError(
                    f"the head of this model was made for {len(places)} classes, and {unknown[0]!r} is none of them"
                )
            raise CasPLError(
                f"this predictor was merged for {len(places)} classes and has no text tower, so that {unknown[0]!r} is "
                "not to be had: load the run that it came from, or export one with these classes"
            )
        return whole.only([places[name.replace("_", " ")] for name in names])

    def __repr__(self) -> str:
        shown = ", ".join(self.classes[:3]) + (", ..." if len(self.classes) > 3 else "")
        return f"Predictor({len(self.classes)} classes: {shown}; on {self.device}, {self.precision})"


def _names(names: Sequence[str]) -> list[str]:
    if isinstance(names, str):
        raise CasPLError(f"class names are a list, not the text {names!r}")
    found = list(names)
    if not found or not all(isinstance(name, str) and name.strip() for name in found):
        raise CasPLError("class names are a list of texts, at least one, none of them empty")
    return found
