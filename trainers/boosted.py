"""The boosting segments of phase 2."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from yacs.config import CfgNode

from caspl.dassl.section import boosting_file
from caspl.errors import CasPLError
from caspl.prompts import Prompts, Segment
from caspl.towers import CLIP
from trainers.checkpoint import ABOUT, read_state, require_student

logger = logging.getLogger(__name__)


def boosting_prompts(cfg: CfgNode, clip: CLIP, student_hash: str, classnames: Sequence[str]) -> Prompts:
    """The boosting segments of phase 2, of the sizes that their file has.

    ``TRAINER.CASPL.BOOSTING`` may also be a checkpoint of phase 2, which holds its boosting tokens.
    """
    path = Path(cfg.TRAINER.CASPL.BOOSTING)
    if ".pth.tar" in path.name:
        state = read_state(path)
        require_student(state[ABOUT], cfg.MODEL.BACKBONE.NAME, student_hash)
        text, vision = (state.get(f"{tower}.boosting.values") for tower in ("text", "vision"))
        if text is None and vision is None:
            raise CasPLError(f"TRAINER.CASPL.BOOSTING {path} is a checkpoint without boosting tokens")
        logger.info("boosting tokens: %s", path)
    else:
        file = boosting_file(cfg, clip, student_hash, classnames)
        text, vision = file.text, file.vision
    trainable = cfg.TRAINER.CASPL.TRAINABLE
    return Prompts(before=_segment(text, trainable), vision=_segment(vision, trainable))


def _segment(tokens: Tensor | None, trainable: bool) -> list[Segment]:
    return [] if tokens is None else [Segment("boosting", tokens, trainable)]
