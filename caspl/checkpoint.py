"""A trainer's checkpoint: the segments of both towers, what they belong to and how they are built; nothing of CLIP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from caspl import __version__
from caspl.errors import CasPLError, first_line
from caspl.model import PromptedCLIP
from caspl.prompts.given import GivenTexts
from caspl.towers.weights import require_whole
from caspl.zoo import require_student

ABOUT = "_extra_state"  # torch's name for what a module saves beside its tensors
CONVERT = "python -m caspl.convert {} --dataset NAME"  # of a file


@dataclass(frozen=True)
class Checkpoint:
    """What is read from a file.

    Args:
        path: of the file.
        student, student_hash: name and weights hash of the CLIP that carries the tokens.
        classnames: of the run.
        tensors: ``tower.segment.name`` -> tensor, on the CPU.
        description: of the prompts (:meth:`caspl.prompts.Prompts.describe`); empty in files of version 0.1.0.
        pixels: preprocessing of the images (:meth:`caspl.pixels.Pixels.as_dict`); empty likewise.
        trained_on: data set, classes, shots and seed of the run; empty likewise.
        library: version that wrote the file; empty in older ones.
        given: class features that are not the student's: the names, and (names, width).
        head: what classifies in the place of texts: its kind, and the description of the prompts in front of it.
    """

    path: Path
    student: str
    student_hash: str
    classnames: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    description: Mapping[str, Any] = field(default_factory=dict)
    pixels: Mapping[str, Any] = field(default_factory=dict)
    trained_on: Mapping[str, Any] = field(default_factory=dict)
    library: str = ""
    given: tuple[tuple[str, ...], Tensor] | None = None
    head: Mapping[str, Any] = field(default_factory=dict)


class SegmentStore(nn.Module):
    """What a trainer registers, saves and loads: the segments of a model, and what is to be known of them.

    Args:
        model: whose segments; they are shared, not copied.
        student, student_hash: name and weights hash of its CLIP.
        pixels, trained_on: see :class:`Checkpoint`.
    """

    def __init__(
        self,
        model: PromptedCLIP,
        student: str,
        student_hash: str,
        pixels: Mapping[str, Any] | None = None,
        trained_on: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.text, self.vision = model.text.segments, model.vision.segments
        self._model = (model,)  # in a tuple, so that its weights are no part of this
        self.student, self.student_hash = student, student_hash
        self.pixels, self.trained_on = dict(pixels or {}), dict(trained_on or {})
        # Further state to save with the tokens (a loss scaler's, where nothing else keeps it), and who takes it back.
        self.more: tuple[Callable[[], Any], Callable[[Any], object]] | None = None

    @property
    def model(self) -> PromptedCLIP:
        """Whose segments these are."""
        return self._model[0]

    def get_extra_state(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "library": __version__,
            "student": self.student,
            "student_hash": self.student_hash,
            "classnames": list(self.model.text.classnames),
            "description": self.model.description,
            "pixels": self.pixels,
            "trained_on": self.trained_on,
        }
        if isinstance(self.model.text, GivenTexts):
            state["given"] = (list(self.model.text.known), self.model.text.given.cpu())
        return state | ({"more": self.more[0]()} if self.more else {})

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        self.require(state)
        there, here = ((of or {}).get("split") for of in (state.get("trained_on"), self.trained_on))
        if there and here and there != here:  # a run that goes on; evaluation may be on another data set
            raise CasPLError("the run was begun on another split of the data set: use another output folder")
        if self.more and "more" in state:
            self.more[1](state["more"])

    def require(self, about: Mapping[str, Any]) -> None:
        """Refuse tokens of another student, or class-specific ones of other classes.

        Raises:
            CasPLError: naming both.
        """
        require_student("these tokens", (about["student"], about["student_hash"]), (self.student, self.student_hash))
        here = list(self.model.text.classnames)
        if self._class_specific() and list(about["classnames"]) != here:
            raise CasPLError(
                f"these class-specific tokens were learned for the classes {', '.join(about['classnames'][:3])}, ..., "
                f"but this run has {', '.join(here[:3])}, ...: class-specific tokens cannot be moved to others"
            )

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that are saved, by name; not copies."""
        return {name: value for name, value in self.state_dict().items() if name != ABOUT}

    def learned(self) -> dict[str, nn.Parameter]:
        """The tensors that train, by name."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}

    def load(self, checkpoint: Checkpoint, trainer: str = "this model") -> None:
        """Take the tokens of a checkpoint.

        Raises:
            CasPLError: if it is another method's, another student's or of other sizes.
        """
        found, expected = checkpoint.tensors, self.tensors()
        if set(found) != set(expected):
            raise CasPLError(
                f"{checkpoint.path} is no checkpoint of {trainer}: it holds {_names(found)}, "
                f"expected are {_names(expected)}"
            )
        self.require({item: getattr(checkpoint, item) for item in ("student", "student_hash", "classnames")})
        for name, value in expected.items():
            if found[name].shape != value.shape:
                raise CasPLError(
                    f"{checkpoint.path} has {name} of shape {tuple(found[name].shape)}, this run's is "
                    f"{tuple(value.shape)}; use the config that it was trained with"
                )
        with torch.no_grad():
            for name, value in expected.items():
                value.copy_(found[name])

    def _class_specific(self) -> bool:
        return any(getattr(segment, "class_specific", False) for segment in self.text.values())


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one of our checkpoints; nothing in it is run.

    Raises:
        CasPLError: if it cannot be read or is not ours.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except Exception as error:  # every reader has its own exceptions for a broken file
        # Dassl's own checkpoints hold their scheduler as an object.
        way = f"; if other code wrote it: {CONVERT.format(path)}" if isinstance(error, UnpicklingError) else ""
        raise CasPLError(f"the checkpoint {path} is broken: {first_line(error)}{way}") from error
    if not isinstance(state, dict) or not isinstance(state.get(ABOUT), dict):
        raise CasPLError(
            f"{path} is no checkpoint of this library: it does not say which student it belongs to; those of CasPL, "
            f"CoOp, CoCoOp, IVLP, MaPLe and PromptSRC as their authors publish them are converted: "
            f"{CONVERT.format(path)}"
        )
    about = state[ABOUT]
    tensors = {_renamed(name): value for name, value in state.items() if name != ABOUT}
    for name, value in tensors.items():
        if not isinstance(value, Tensor) or not value.is_floating_point() or not value.numel():
            raise CasPLError(f"{path} is a damaged checkpoint: {name} is no tensor of numbers")
        require_whole(str(path), name, value)
        if not value.isfinite().all():
            raise CasPLError(f"{path} holds numbers in {name} that are not finite: that run has diverged")
    try:
        if not isinstance(about["classnames"], list):
            raise TypeError("a list of classnames")
        return Checkpoint(
            path,
            student=str(about["student"]),
            student_hash=str(about["student_hash"]),
            classnames=tuple(map(str, about["classnames"])),
            tensors=tensors,
            description=dict(about.get("description") or {}),
            pixels=dict(about.get("pixels") or {}),
            trained_on=dict(about.get("trained_on") or {}),
            library=str(about.get("library", "")),
            given=_given(about.get("given")),
            head=_head(about.get("head")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CasPLError(f"{path} is a damaged checkpoint: what it says of itself lacks {error}") from error


def _given(said: Any) -> tuple[tuple[str, ...], Tensor] | None:
    """Class features of another model, if there are any.

    Raises:
        TypeError, ValueError: if they are damaged.
    """
    if said is None:
        return None
    names, features = said
    if not isinstance(features, Tensor) or features.dim() != 2 or len(names) != len(features):
        raise ValueError("features of the classes that it names")
    if not features.is_floating_point() or not features.isfinite().all():
        raise ValueError("finite features of its classes")
    return tuple(map(str, names)), features.float()


def _head(said: Any) -> dict[str, Any]:
    """What is said of a head.

    Raises:
        KeyError, TypeError: if it is damaged.
    """
    if not said:
        return {}
    if not isinstance(said["kind"], str) or not isinstance(said["prompts"], Mapping):
        raise TypeError("what kind of head it has")
    return dict(said)


def _renamed(name: str) -> str:
    """As it is called today: PromptKD's projector was no segment at first."""
    return f"vision.{name}" if name.startswith("projector.") else name


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def find_checkpoint(folder: Path, epoch: int | None = None) -> Path:
    """The file of an epoch; without one, the best on validation data if there is one, else the last.

    Args:
        folder: ``<run>/<name of the model>``.

    Raises:
        CasPLError: if there is none.
    """
    if epoch is not None:
        path = folder / f"model.pth.tar-{epoch}"
    else:
        path = folder / "model-best.pth.tar"
        pointer = folder / "checkpoint"
        if not path.is_file():
            if not pointer.is_file():
                if folder.parent.is_file():
                    raise CasPLError(f"{folder.parent} is a file: name the folder of the run")
                there = folder.parent.is_dir()
                raise CasPLError(f"there is no checkpoint in {folder}" if there else f"there is no run {folder.parent}")
            path = folder / pointer.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    if not path.is_file():
        others = ", ".join(sorted(found.name for found in folder.glob("model*.pth.tar*")))
        raise CasPLError(f"there is no checkpoint {path}" + (f", but {others}" if others else ""))
    return path


def _names(tensors: Mapping[str, object]) -> str:
    return ", ".join(sorted(tensors)) or "nothing"
