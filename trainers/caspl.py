"""CasPL, phase 1 (arXiv 2409.17805, section 3.2): distil a larger teacher into boosting tokens, without labels."""

from __future__ import annotations

import logging

from torch import Tensor

from caspl.losses import distillation
from caspl.model import Output
from caspl.prompts import Header, Prompts, both_towers, write_boosting
from caspl.teacher import Teacher
from caspl.templates import fill
from caspl.towers import CLIP
from caspl.zoo import load_clip, weights_hash
from trainers.base import PromptTrainer
from trainers.boosting import DEFAULTS, asked_sizes, boosting_target, teacher_template
from trainers.registry import register

logger = logging.getLogger(__name__)


@register
class CasPL(PromptTrainer):
    """The boosting trainer. All images of the training split and all class names; labels are not used."""

    section = "CASPL"
    saved_as = "CasPL"
    cascades = False
    labelled = False
    defaults = DEFAULTS

    def prompts(self, clip: CLIP) -> Prompts:
        self.target = boosting_target(self.cfg, clip)
        self.student_hash = weights_hash(clip)
        return both_towers(clip, *asked_sizes(self.options, clip), self.options.CTX_INIT, "boosting")

    def before_train(self) -> None:
        self.teacher = self._teacher()
        super().before_train()

    def losses(self, output: Output, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        options = self.options
        scale = self.model.scale if options.TEACHER_SCALE == "student" else None
        teacher = self.teacher.logits(images, scale)
        return {"kl": distillation(output.logits, teacher, options.TEMPERATURE, options.REDUCTION)}

    def after_train(self) -> None:
        segments = self.model.segments()
        keys = ("text.boosting", "vision.boosting")
        text, vision = (segments[key].values if key in segments else None for key in keys)
        path = write_boosting(self.target, self._header(), text, vision)
        logger.info("boosting tokens written to %s", path)
        super().after_train()

    def _teacher(self) -> Teacher:
        clip = self.precision.place(load_clip(self.options.TEACHER))
        return Teacher(clip, fill(teacher_template(self.cfg), self.dm.dataset.classnames))

    def _header(self) -> Header:
        cfg, options = self.cfg, self.options
        return Header(
            student=cfg.MODEL.BACKBONE.NAME,
            student_hash=self.student_hash,
            teacher=options.TEACHER,
            dataset=cfg.DATASET.NAME,
            classnames=tuple(self.dm.dataset.classnames),
            template=teacher_template(cfg),
            seed=cfg.SEED,
            epochs=cfg.OPTIM.MAX_EPOCH,
            temperature=options.TEMPERATURE,
        )
