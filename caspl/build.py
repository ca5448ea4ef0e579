"""From a checkpoint alone to the model: no config, no data manager, no code of the method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from caspl.boosting import read_boosting
from caspl.boosting.file import require_towers
from caspl.checkpoint import Checkpoint, below, find_checkpoint, read_checkpoint
from caspl.classifier import Classifier
from caspl.errors import CasPLError
from caspl.fitted import BOOST, Fitted
from caspl.model import PromptedCLIP
from caspl.probe import HEAD, head_of
from caspl.prompts import AnyTexts, Prompts, Segment, VisionCascade
from caspl.prompts.given import GivenTexts
from caspl.towers import CLIP
from caspl.zoo import load_clip, require_student, weights_hash


def load_model(
    path: str | Path, clip: CLIP | None = None, classnames: Sequence[str] | None = None, epoch: int | None = None
) -> PromptedCLIP:
    """The model that a run has left, in float32 on the CPU.

    Args:
        path: a run's folder, a checkpoint in it, or a boosting file (boosting alone: class names without a template).
        clip: the student; by default it is loaded by the name that the file gives.
        classnames: others than the run's; class-specific tokens cannot be moved.
        epoch: with a folder, the checkpoint to load; by default the best, else the last.

    Raises:
        CasPLError: if there is no such file, or if it does not say how its model is built (those of version 0.1.0 do
            not), or if the student is another.
    """
    found = read_built(path, epoch)
    return build_model(found, load_clip(found.student) if clip is None else clip, classnames)


def read_built(path: str | Path, epoch: int | None = None, heads: bool = False) -> Checkpoint:
    """What a run has left, as far as a model can be built from it; a boosting file is read as a checkpoint.

    Args:
        path, epoch: see :func:`load_model`.
        heads: take one whose logits come from a head behind the image tower as well, see :func:`build_headed`.

    Raises:
        CasPLError: if there is no such file, or if it does not say how its model is built.
    """
    path = Path(path)
    found = _boosting(path) if path.suffix == ".safetensors" else read_checkpoint(_file(path, epoch))
    if found.head and not heads:
        raise CasPLError(
            f"{found.path} has no texts that classify, but a head behind the image tower ({found.head['kind']}): "
            "caspl.load takes it"
        )
    if not found.description and not found.head:
        raise CasPLError(
            f"{found.path} does not say how its model is built, as those that earlier versions wrote: evaluate it with "
            "--eval-only and the config of its training"
        )
    return found


def build_model(found: Checkpoint, clip: CLIP, classnames: Sequence[str] | None = None) -> PromptedCLIP:
    """The model that a checkpoint describes; see :func:`load_model`.

    Raises:
        CasPLError: if the student is another, or if class-specific tokens are to serve other classes.
    """
    _require_clip(found, clip)
    prompts = Prompts.of(found.description)
    names = list(classnames or found.classnames)
    if not names:
        raise CasPLError(f"{found.path} does not name its classes: name them")
    text, vision = prompts.cascade()
    if (found.given is None) != (prompts.combine != "given"):
        raise CasPLError(
            f"{found.path} is damaged: it lacks the features of classes, or has some that it has no use for"
        )
    if found.given is not None:
        _require_width(found, vision, clip, found.given[1].shape[1])
        text = GivenTexts(*found.given)
    specific = class_specific(text)
    if specific and [name.replace("_", " ") for name in names] != list(found.classnames):
        raise CasPLError(f"the tokens {specific[0]!r} of {found.path} are class-specific: they fit no other classes")
    _load({"text": text.segments, "vision": vision.segments}, found)
    model = PromptedCLIP(clip, text, vision, names, found.description).eval()
    return model.requires_grad_(False) if found.path.suffix == ".safetensors" else model


def build_headed(found: Checkpoint, clip: CLIP) -> Classifier:
    """What a checkpoint with a head describes, for all classes that it knows.

    Raises:
        CasPLError: if the student is another, or the file is damaged.
    """
    _require_clip(found, clip)
    _, vision = Prompts.of(found.head["prompts"]).cascade()
    _load({"vision": vision.segments}, found)
    scale = clip.logit_scale.detach().float().exp()
    head = head_of(str(found.path), found.head["kind"], below(found.tensors, HEAD), float(scale))
    _require_width(found, vision, clip, head.width)
    if head.classes != len(found.classnames):
        raise CasPLError(
            f"{found.path} is damaged: it names {len(found.classnames)} classes, its head has {head.classes}"
        )
    made = Classifier(clip.freeze().visual, vision.fixed(), found.classnames, scale, head=head)
    return made.requires_grad_(False).eval()


def boosting_tokens(found: Checkpoint) -> tuple[Tensor | None, Tensor | None]:
    """The boosting tokens of both towers, text and vision, that a file holds."""
    text, vision = (found.tensors.get(f"{tower}.boosting.values") for tower in ("text", "vision"))
    return text, vision


def boosting_prompts(text: Tensor | None, vision: Tensor | None) -> Prompts:
    """Boosting alone: tokens (depth, length, width) of each tower that has some, and class names without a template."""
    segments = [[] if value is None else [Segment("boosting", value, trainable=False)] for value in (text, vision)]
    return Prompts(nearest=segments[0], vision=segments[1])


def class_specific(text: AnyTexts) -> list[str]:
    """Names of the segments whose tokens are each class's own."""
    return [s.name for s in text.segments.values() if isinstance(s, Segment) and s.class_specific]


def _require_clip(found: Checkpoint, clip: CLIP) -> None:
    """Refuse a student that the tokens were not made for."""
    require_student(str(found.path), (found.student, found.student_hash), ("the one at hand", weights_hash(clip)))
    require_towers(str(found.path), *boosting_tokens(found), clip)


def _require_width(found: Checkpoint, vision: VisionCascade, clip: CLIP, width: int) -> None:
    """Refuse what classifies images by another number of features than they have."""
    try:
        images = vision.widened(clip.sizes.embed_dim)
    except ValueError as error:
        raise CasPLError(f"{found.path} is damaged: {error}") from error
    if images != width:
        raise CasPLError(f"{found.path} is damaged: images have {images} features, and {width} are judged")


def _load(towers: Mapping[str, nn.ModuleDict], found: Checkpoint) -> None:
    """Put the tokens of a file in the place of those that have none yet.

    Raises:
        CasPLError: if they are not what the description says.
    """
    for tower, segments in towers.items():
        given = below(found.tensors, f"{tower}.")
        expected = {name: value.shape for name, value in segments.state_dict().items()}
        if {name: value.shape for name, value in given.items()} != expected:
            raise CasPLError(f"{found.path} is damaged: its {tower} tokens are not those that it describes")
        segments.load_state_dict({name: value.float() for name, value in given.items()}, assign=True)


def _boosting(path: Path) -> Checkpoint:
    """A boosting file, read as a checkpoint."""
    file = read_boosting(path)
    header = file.header
    tokens = {name: value for name, value in (("text", file.text), ("vision", file.vision)) if value is not None}
    prompts = boosting_prompts(file.text, file.vision)
    return Checkpoint(
        path,
        student=header.student,
        student_hash=header.student_hash,
        classnames=header.classnames,
        tensors={f"{tower}.boosting.values": value for tower, value in tokens.items()},
        description=header.description or prompts.describe(),
        pixels=header.pixels or {},
        trained_on={"dataset": header.dataset, "seed": header.seed},
        library=header.library,
    )


def _file(path: Path, epoch: int | None) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise CasPLError(f"there is no run and no checkpoint at {path}")
    folders = sorted({file.parent for file in path.glob("*/checkpoint")} | {f.parent for f in path.glob("checkpoint")})
    fitted = None if folders else Fitted.there(path)
    if fitted and fitted.boosts_only and any((path / BOOST).glob("*/checkpoint")):
        return _file(path / BOOST, epoch)
    if fitted:
        raise CasPLError(f"the run in {path} is not finished: go on with {fitted.command}")
    if len(folders) != 1:
        found = f"checkpoints of {len(folders)} models" if folders else "no checkpoint"
        raise CasPLError(f"{path} holds {found}: name the folder of one run, or a checkpoint file")
    return find_checkpoint(folders[0], epoch)
