"""What stands side by side: the student as it was, boosted, with all that a run has learned, and the teacher."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

from caspl.boosting import BoostingFile, read_boosting
from caspl.build import boosting_prompts, boosting_tokens, read_built
from caspl.checkpoint import Checkpoint
from caspl.classifier import class_logits
from caspl.errors import CasPLError
from caspl.model import PromptedCLIP
from caspl.predictor import Predictor, load
from caspl.predictor.images import Transform
from caspl.predictor.merged import is_merged
from caspl.prompts.templates import checked, fill, template_for
from caspl.results.record import FILE_NAME, read_record
from caspl.step import Precision
from caspl.teachers import CLIPEncoder, Encoder, load_encoder
from caspl.towers import CLIP
from caspl.zoo import SHIPPED, at_hand, load_clip

TEACHERS = {"tiny-student": "tiny-teacher"}
"""Of a student, where nothing says which taught it; of all others the paper's."""
PAPERS = "ViT-L/14"


class Column(Protocol):
    """One of the models that answer.

    Attributes:
        title: in a word.
        what: in a line.
    """

    title: str
    what: str

    def probabilities(self, picture: Image.Image, classes: Sequence[str]) -> list[float]:
        """Of each class, in order.

        Raises:
            CasPLError: if it cannot answer with these classes.
        """


class ZeroShot:
    """A CLIP without any tokens: a template around each class name.

    Args:
        title: see :class:`Column`.
        encoder: the CLIP.
        template: with ``{}`` for the class name.
    """

    def __init__(self, title: str, encoder: Encoder, template: str) -> None:
        self.title, self.encoder, self.template = title, encoder, checked(template)
        self.what = f"{encoder.name} without any training, asked for “{template}”"
        self._transform = Transform(encoder.pixels)
        self._texts: tuple[tuple[str, ...], Tensor] | None = None

    @torch.no_grad()
    def probabilities(self, picture: Image.Image, classes: Sequence[str]) -> list[float]:
        """See :meth:`Column.probabilities`."""
        names = tuple(classes)
        if self._texts is None or self._texts[0] != names:
            self._texts = names, self.encoder.encode_text(fill(self.template, names))
        image = self.encoder.encode_image(self._transform(picture)[None].to(self.encoder.device))
        return _listed(class_logits(self.encoder.scale, image, self._texts[1]))


class Prompted:
    """A CLIP with learned tokens.

    Args:
        title, what: see :class:`Column`.
        predictor: what answers.
    """

    def __init__(self, title: str, what: str, predictor: Predictor) -> None:
        self.title, self.predictor = title, predictor
        self.what = what + (", calibrated" if predictor.temperature != 1 else "")

    def probabilities(self, picture: Image.Image, classes: Sequence[str]) -> list[float]:
        """See :meth:`Column.probabilities`."""
        names = [name.replace("_", " ") for name in classes]
        if names != self.predictor.classes:
            self.predictor.set_classes(names)
        return _listed(self.predictor.logits(picture) / self.predictor.temperature)


class SideBySide:
    """All columns of a run.

    Args:
        columns: in order.
        classes: to begin with.
        lead: the place of the column that the run is about.
        note: what is missing, and how it is to be had; empty if nothing is.
    """

    def __init__(self, columns: Sequence[Column], classes: Sequence[str], lead: int, note: str = "") -> None:
        self.columns, self.classes, self.lead, self.note = list(columns), list(classes), lead, note


def side_by_side(
    run: str | Path,
    student: str | None = None,
    classes: Sequence[str] | None = None,
    epoch: int | None = None,
    device: str | None = None,
    precision: str = "fp32",
    teacher: str | None = None,
    template: str = "",
) -> SideBySide:
    """The columns that a run gives: an exported predictor is one, since all else has been merged away.

    Args:
        run, student, classes, epoch, device, precision: as of :func:`caspl.load`.
        teacher: name of the CLIP that taught; downloaded if need be. None: that which the boosting file names, if its
            weights are on this machine. Empty: none.
        template: of the columns without tokens; by default what the teacher was asked.

    Raises:
        CasPLError: as :func:`caspl.load` and :func:`caspl.teachers.load_encoder`.
    """
    run = Path(run).expanduser()
    if is_merged(run):
        model = load(run, student, classes, epoch, device, precision)
        what = f"{model.about.get('student', 'a CLIP')}, merged with its tokens"
        return SideBySide([Prompted("Exported", what, model)], model.classes, 0)
    found = read_built(run, epoch, heads=True)
    clip = load_clip(student or found.student)
    model = load(run, clip, classes, epoch, device, precision)
    origin = _origin(found, _folders(run))
    template = template or (origin.header.template if origin else template_for(str(found.trained_on.get("dataset"))))
    plain = ZeroShot("Student", CLIPEncoder(clip, found.student, model.pixels, found.student_hash), template)
    columns: list[Column] = [plain, *_learned(found, clip, model)]
    lead, note = len(columns) - 1, ""
    name = teacher if teacher is not None else _teacher(found, origin)
    if teacher or (name and at_hand(name)):
        columns.append(ZeroShot("Teacher", load_encoder(name, Precision("fp32", model.device)), template))
    elif name:
        note = (
            f"The teacher {name} is not on this machine; --teacher {name} fetches it, or names a file of its weights."
        )
    return SideBySide(columns, model.classes, lead, note)


def _learned(found: Checkpoint, clip: CLIP, model: Predictor) -> list[Column]:
    """The columns with tokens; the last is the model itself."""
    text, vision = boosting_tokens(found)
    if all(name.endswith(".boosting.values") for name in found.tensors):
        return [Prompted("Boosted", f"{found.student} with boosting tokens", model)]
    what = "a classifier on kept features" if found.head else "adapting tokens"
    if text is None and vision is None:
        return [Prompted("Adapted", f"{what}{_trained(found)}", model)]
    boosted = PromptedCLIP.of(clip, boosting_prompts(text, vision), model.classes).eval().requires_grad_(False)
    alone = Predictor(boosted.fixed(), model.pixels, boosted, {}, model.device, model.precision)
    return [
        Prompted("Boosted", f"{found.student} with the run’s boosting tokens alone", alone),
        Prompted("Cascade", f"boosting tokens and {what}{_trained(found)}", model),
    ]


def _listed(logits: Tensor) -> list[float]:
    return [float(value) for value in logits.float().softmax(dim=-1)[0].cpu()]


def _trained(found: Checkpoint) -> str:
    data, shots = found.trained_on.get("dataset"), int(found.trained_on.get("shots") or -1)
    return f", trained on {data}" + (f", {shots} shots a class" if shots > 0 else "") if data else ""


def _teacher(found: Checkpoint, origin: BoostingFile | None) -> str:
    return origin.header.teacher if origin else TEACHERS.get(found.student, "" if found.student in SHIPPED else PAPERS)


def _folders(run: Path) -> list[Path]:
    """Where the boosting file of a run may lie: in it, as ``caspl fit`` keeps it, and where its settings say."""
    folders = [run] if run.is_dir() else [run.parent]
    try:
        said = read_record(folders[0] / FILE_NAME).settings["TRAINER"]["CASPL"]["BOOSTING_DIR"]
    except (CasPLError, KeyError, TypeError):
        return folders
    return [*folders, Path(str(said))]


def _origin(found: Checkpoint, folders: Iterable[Path]) -> BoostingFile | None:
    """The boosting file with a run's very tokens; None if it is not there."""
    text, vision = boosting_tokens(found)
    if text is None and vision is None:
        return None
    files = [found.path] if found.path.suffix == ".safetensors" else [p for f in folders for p in _files(f)]
    for path in files:
        try:
            file = read_boosting(path)
        except CasPLError:  # another kind of safetensors
            continue
        if _same(file.text, text) and _same(file.vision, vision):
            return file
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors")) if folder.is_dir() else []


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and bool(torch.equal(one.float(), other.float()))
