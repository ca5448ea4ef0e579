"""Who writes a boosting file: it is claimed before hours are spent on it, and looked at again before it is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from caspl.boosting.file import Header, read_boosting, write_boosting
from caspl.errors import CasPLError
from caspl.files import Claim
from caspl.model import PromptedCLIP
from caspl.prompts.segment import AnySegment, Segment


class BoostingWriter:
    """Writes what a run of phase 1 has learned.

    Args:
        target: the file.
        header: what it will say of itself.
    """

    def __init__(self, target: Path, header: Header) -> None:
        self.target, self.header = target, header
        self.claim = Claim(target, "phase 1")

    def begin(self) -> None:
        """Claim the file, if it may be written.

        Raises:
            CasPLError: if another run writes it, if it cannot be written, or if what is there came from other
                settings.
        """
        self._check()
        self.claim.take()

    def know(self, header: Header) -> None:
        """Take what the file will say, now that more of it is known, and look once more.

        Raises:
            CasPLError: if what is there came from other settings, or from another teacher of that name.
        """
        self.header = header
        self._check()

    def write(self, model: PromptedCLIP, steps: int = 0) -> Path:
        """Write the boosting segments of a model; returns the path.

        Raises:
            CasPLError: if meanwhile another run has written there, or the disk is full.
        """
        self._check()
        segments = model.segments()
        text, vision = (_values(segments.get(f"{tower}.boosting")) for tower in ("text", "vision"))
        return write_boosting(self.target, replace(self.header, steps=steps), text, vision)

    def end(self) -> None:
        """Let go of the file."""
        self.claim.release()

    def _check(self) -> None:
        if not self.target.is_file():
            return
        there = read_boosting(self.target).header
        if there.format < self.header.format:  # it counted other settings
            raise CasPLError(f"{self.target} was made by an earlier version, whose settings cannot be compared")
        if (there.recipe, there.classnames) != (self.header.recipe, self.header.classnames):
            raise CasPLError(f"{self.target} was made with other settings or classes")
        if there.split and self.header.split and there.split != self.header.split:
            raise CasPLError(f"{self.target} was made from another split of {there.dataset}")
        if there.teacher_hash and self.header.teacher_hash and there.teacher_hash != self.header.teacher_hash:
            raise CasPLError(f"{self.target} was made from other weights of the teacher {there.teacher}")


def _values(segment: AnySegment | None) -> Tensor | None:
    return segment.values if isinstance(segment, Segment) else None
