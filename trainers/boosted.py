"""``CasPL_<X>``: the method X behind frozen boosting tokens (CasPL, phase 2). A wrapper, and nothing in X knows it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from caspl.checkpoint import read_checkpoint
from caspl.dassl.outcome import PHASE_2, Sections
from caspl.dassl.section import BOOSTED_PREFIX, DEFAULTS, boosting_file
from caspl.errors import CasPLError
from caspl.prompts import Prompts, Segment
from caspl.towers import CLIP
from caspl.zoo import require_student
from trainers.registry import Wrapper, wrap

if TYPE_CHECKING:
    from trainers.base import PromptTrainer as Base
else:
    Base = object

logger = logging.getLogger(__name__)


class Boosted(Base):
    """Phase 2: its cascade holds the boosting segments too."""

    boosted = True
    _origin: dict[str, Any]

    def boosting(self, clip: CLIP) -> Prompts | None:
        """The boosting segments, of the sizes that their file has.

        ``TRAINER.CASPL.BOOSTING`` may also be a checkpoint of phase 2, which holds its boosting tokens.
        """
        text, vision = self._tokens(clip)
        trainable = self.cfg.TRAINER.CASPL.TRAINABLE
        return Prompts(nearest=_segment(text, trainable), vision=_segment(vision, trainable))

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load a run; where boosting tokens of a data set are named, they stand in place of the run's own."""
        named = self.cfg.TRAINER.CASPL.BOOSTING_DATASET
        tensors = {name: value for name, value in self.segments.tensors().items() if ".boosting." in name}
        before = {name: value.clone() for name, value in tensors.items()} if named else {}
        super().load_model(directory, epoch)
        if before and self.segments.learned():
            logger.info("boosting tokens of %s in place of those that the run was trained with", named)
            self.recorder.trained_on["boosting"] = self._origin
        with torch.no_grad():
            for name, value in before.items():
                tensors[name].copy_(value)

    def sections(self) -> Sections:
        return {**super().sections(), "CASPL": PHASE_2}

    def trained_on(self) -> dict[str, Any]:
        return super().trained_on() | {"boosting": self._origin}

    def _tokens(self, clip: CLIP) -> tuple[Tensor | None, Tensor | None]:
        cfg, path = self.cfg, Path(self.cfg.TRAINER.CASPL.BOOSTING)
        if ".pth.tar" not in path.name:
            file = boosting_file(cfg, clip, self.student_hash, self.dm.dataset)
            header = file.header
            self._origin = {"dataset": header.dataset, "seed": header.seed, "split": header.split}
            return file.text, file.vision
        found = read_checkpoint(path)
        made_for = (found.student, found.student_hash)
        require_student(f"the tokens of {path}", made_for, (cfg.MODEL.BACKBONE.NAME, self.student_hash))
        text, vision = (found.tensors.get(f"{tower}.boosting.values") for tower in ("text", "vision"))
        if text is None and vision is None:
            raise CasPLError(
                f"{path} is a checkpoint without boosting tokens, of a run without the cascade: let --model-dir name a "
                f"run of {type(self).__name__}, or TRAINER.CASPL.BOOSTING a boosting file"
            )
        logger.info("boosting tokens: %s", path)
        # Of a cascade's checkpoint that of its own tokens; of phase 1's the run itself.
        origin = found.trained_on.get("boosting") or (
            {} if "text.adapting.values" in found.tensors else found.trained_on
        )
        self._origin = dict(origin)
        return text, vision


def _segment(tokens: Tensor | None, trainable: bool) -> list[Segment]:
    return [] if tokens is None else [Segment("boosting", tokens, trainable)]


wrap(Wrapper(BOOSTED_PREFIX, "CASPL", DEFAULTS, Boosted, "{} cascaded behind frozen boosting tokens (CasPL, phase 2)."))
