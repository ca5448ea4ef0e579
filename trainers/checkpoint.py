"""A trainer's checkpoint: the segments of both towers and what they belong to, nothing of CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from caspl.errors import CasPLError, first_line
from caspl.model import PromptedCLIP
from dassl.utils import load_checkpoint

ABOUT = "_extra_state"  # torch's name for what a module saves beside its tensors


class SegmentStore(nn.Module):
    """What a trainer registers, saves and loads: the segments of a model, with student and class names.

    Args:
        model: whose segments; they are shared, not copied.
        student, student_hash: name and weights hash of its CLIP.
    """

    def __init__(self, model: PromptedCLIP, student: str, student_hash: str) -> None:
        super().__init__()
        self.text, self.vision = model.text.segments, model.vision.segments
        self.student, self.student_hash = student, student_hash
        self.classnames = list(model.text.classnames)

    def get_extra_state(self) -> dict[str, Any]:
        return {"student": self.student, "student_hash": self.student_hash, "classnames": self.classnames}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        require_student(state, self.student, self.student_hash)
        if self._class_specific() and state["classnames"] != self.classnames:
            raise CasPLError(
                f"these class-specific tokens were learned for the classes {', '.join(state['classnames'][:3])}, ..., "
                f"but this run has {', '.join(self.classnames[:3])}, ...: class-specific tokens cannot be moved "
                "to others"
            )

    def learned(self) -> dict[str, nn.Parameter]:
        """The tensors that train, by name."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}

    def _class_specific(self) -> bool:
        return any(getattr(segment, "class_specific", False) for segment in self.text.values())


def require_student(about: Mapping[str, Any], student: str, student_hash: str) -> None:
    """Refuse tokens of another student.

    Raises:
        CasPLError: naming both.
    """
    if about["student_hash"] != student_hash:
        raise CasPLError(
            f"these tokens were learned for the student {about['student']} (weights {about['student_hash']}), but "
            f"this run uses {student} (weights {student_hash})"
        )


def load_segments(folder: Path, epoch: int | None, segments: SegmentStore, trainer: str) -> None:
    """Load the tokens of a checkpoint into ``segments``.

    Args:
        folder: ``<run>/<saved_as>``.
        epoch: which checkpoint; None takes the best on validation data if there is one, else the last.

    Raises:
        CasPLError: if there is no such checkpoint, or if it is another method's, another student's or of other sizes.
    """
    path = find_checkpoint(folder, epoch)
    found = read_state(path)
    expected = segments.state_dict()
    if set(found) != set(expected):
        tensors = ", ".join(sorted(set(found) - {ABOUT})) or "nothing"
        raise CasPLError(
            f"{path} is no checkpoint of {trainer}: it holds {tensors}, "
            f"expected are {', '.join(sorted(set(expected) - {ABOUT}))}"
        )
    segments.set_extra_state(found[ABOUT])
    for name, value in expected.items():
        if name != ABOUT and found[name].shape != value.shape:
            raise CasPLError(
                f"{path} has {name} of shape {tuple(found[name].shape)}, this run's is {tuple(value.shape)}; "
                "use the config that it was trained with"
            )
    segments.load_state_dict(found)


def read_state(path: Path) -> dict[str, Any]:
    """The state dict of one of our checkpoints.

    Raises:
        CasPLError: if it cannot be read or is not ours.
    """
    try:
        state = load_checkpoint(str(path))["state_dict"]
    except Exception as error:  # every reader has its own exceptions for a broken file
        raise CasPLError(f"the checkpoint {path} is broken: {first_line(error)}") from error
    if not isinstance(state, dict) or not isinstance(state.get(ABOUT), dict):
        raise CasPLError(
            f"{path} is no checkpoint of this library: it does not say which student it belongs to; boosting tokens of "
            "the CasPL authors' code are converted by python -m caspl.convert"
        )
    if not all(isinstance(value, Tensor) for name, value in state.items() if name != ABOUT):
        raise CasPLError(f"{path} is a damaged checkpoint: not all of its entries are tensors")
    return state


def find_checkpoint(folder: Path, epoch: int | None) -> Path:
    """The file of an epoch; without one, the best on validation data if there is one, else the last.

    Raises:
        CasPLError: if there is none.
    """
    if epoch is not None:
        path = folder / f"model.pth.tar-{epoch}"
    else:
        path = folder / "model-best.pth.tar"
        pointer = folder / "checkpoint"
        if not path.is_file() and pointer.is_file():
            path = folder / pointer.read_text().strip()
    if not path.is_file():
        raise CasPLError(f"no checkpoint at {path}; check --model-dir and --load-epoch")
    return path
