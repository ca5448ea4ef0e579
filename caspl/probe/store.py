"""A checkpoint of segments, if there are any, and of the head behind the tower."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from caspl.checkpoint import Checkpoint, SegmentStore, below
from caspl.errors import CasPLError
from caspl.head import HEADS, Head

HEAD = "head."


class HeadStore(SegmentStore):
    """As :class:`caspl.checkpoint.SegmentStore`, and the head's tensors under ``head.``.

    Args:
        segments: the store of the model's segments.
        head: saved and loaded with them.
    """

    def __init__(self, segments: SegmentStore, head: Head) -> None:
        about = (segments.student, segments.student_hash, segments.pixels, segments.trained_on)
        super().__init__(segments.model, *about)
        self.head = head

    def get_extra_state(self) -> dict[str, Any]:
        # Its prompts alone would be another model: nobody who does not know of heads shall build it from them.
        state = super().get_extra_state()
        head = {"kind": self.head.kind, "prompts": state["description"]}
        return state | {"description": {}, "head": head if self.head.kind else {}}

    def tensors(self) -> dict[str, Tensor]:
        """Of the segments: those that must be of the same sizes in a checkpoint; the head's follow from its classes."""
        return {name: value for name, value in super().tensors().items() if not name.startswith(HEAD)}

    def load(self, checkpoint: Checkpoint, trainer: str = "this model") -> None:
        """Take the segments and the head of a checkpoint, of the head what belongs to this run's classes.

        Raises:
            CasPLError: if it is another method's or student's, or does not know a class of this run.
        """
        own = below(checkpoint.tensors, HEAD)
        if own.keys() != self.head.state_dict().keys():
            there = ", ".join(sorted(checkpoint.tensors)) or "nothing"
            raise CasPLError(f"{checkpoint.path} is no checkpoint of {trainer}: it holds {there}")
        rest = {name: value for name, value in checkpoint.tensors.items() if not name.startswith(HEAD)}
        super().load(replace(checkpoint, tensors=rest), trainer)
        places = {name: place for place, name in enumerate(checkpoint.classnames)}
        asked = list(self.model.text.classnames)
        _require_known(checkpoint, asked, places, trainer)
        try:
            self.head.take(own, [places[name] for name in asked], len(places))
        except ValueError as error:
            raise CasPLError(f"{checkpoint.path} is a damaged checkpoint: {error}") from error


def _require_known(checkpoint: Checkpoint, asked: list[str], places: Mapping[str, int], trainer: str) -> None:
    unknown = [name for name in asked if name not in places]
    if unknown:
        raise CasPLError(
            f"{trainer} knows only the {len(places)} classes that it was trained on: {checkpoint.path} has no weights "
            f"for {', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}"
        )


def head_of(where: str, kind: str, tensors: Mapping[str, Tensor], scale: float) -> Head:
    """The head that a file describes.

    Args:
        where: the file, for errors.
        kind: of the head.
        tensors, scale: see :meth:`Head.of`.

    Raises:
        CasPLError: if there is no such kind, or the tensors are damaged.
    """
    if kind not in HEADS:
        raise CasPLError(f"{where} has a head of the kind {kind!r}, and known are {', '.join(sorted(HEADS))}")
    try:
        return HEADS[kind].of({name: value.float() for name, value in tensors.items()}, scale)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise CasPLError(f"{where} is damaged: its head is none ({error})") from error
