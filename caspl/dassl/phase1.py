"""Phase 1 (CasPL, arXiv 2409.17805, section 3.2) as a trainer sees it: data, segments, loss and file.

One mixin for two bases: the boosting trainer of this project (``trainers/caspl.py``) and the one that the plug-in
registers in other code bases. Both are trainers of Dassl's kind.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from yacs.config import CfgNode

from caspl.boosting import Header
from caspl.boosting.distillation import Distillation
from caspl.boosting.writer import BoostingWriter
from caspl.dassl.images import images_of
from caspl.dassl.kept_teacher import KeptTeacher
from caspl.dassl.outcome import PHASE_1, recipe
from caspl.dassl.section import asked_sizes, boosting_target, class_texts, given_texts, teacher_template
from caspl.dassl.student import given_pixels
from caspl.errors import CasPLError, advising
from caspl.group import Group
from caspl.model import Output, PromptedCLIP
from caspl.prompts import Prompts, Segment, both_towers
from caspl.step import Batch, Precision, Terms
from caspl.teachers import CLIPTeacher
from caspl.towers import CLIP

if TYPE_CHECKING:
    from dassl.engine import TrainerX as Base
else:
    Base = object

logger = logging.getLogger(__name__)

OTHER_FILE = "use another TRAINER.CASPL.BOOSTING_DIR and another --output-dir, or delete it"


class Phase1(KeptTeacher, Base):
    """All images of the training split and all class names; labels are not used.

    Where the data set brings unlabelled images (``train_u``), it is these instead. With ``TRAINER.CASPL.IMAGES`` the
    images are those of another data set's training split. The class names stay. The trainer below sets ``precision``,
    ``model`` and ``student_hash``, and calls ``start`` before training. For evaluation alone no teacher is needed.
    """

    labelled = False

    precision: Precision
    model: PromptedCLIP
    student_hash: str
    teacher_hash: str = ""
    group: Group
    distillation: Distillation
    writer: BoostingWriter

    def check_cfg(self, cfg: CfgNode) -> None:
        super().check_cfg(cfg)
        if cfg.SEED < 0:
            raise CasPLError("phase 1 needs a --seed: it is part of the boosting file's name")
        if cfg.TEST.FINAL_MODEL != "last_step":
            raise CasPLError("phase 1 sees no labels, so that TEST.FINAL_MODEL must be last_step")

    def build_data_loader(self) -> None:
        super().build_data_loader()
        images, shots = self.cfg.TRAINER.CASPL.IMAGES, self.cfg.DATASET.NUM_SHOTS
        subset = self.cfg.DATASET.get("SUBSAMPLE_CLASSES", "all")
        if subset != "all":
            logger.warning("phase 1 with DATASET.SUBSAMPLE_CLASSES %s: the tokens will not know the others", subset)
        if shots >= 1:
            logger.warning("phase 1 with DATASET.NUM_SHOTS %d: it looks at %d images a class, not at all", shots, shots)
        if images:
            self.train_loader_x = images_of(images, self.cfg)
        elif self.train_loader_u is not None:
            self.train_loader_x = self.train_loader_u
        self.take_views()

    def boosting_segments(self, clip: CLIP) -> Prompts:
        """New boosting tokens, and where their file will lie."""
        options = self.cfg.TRAINER.CASPL
        self.target = boosting_target(self.cfg, clip)
        with advising("look at the lengths and depths in TRAINER.CASPL"):
            prompts = both_towers(clip, *asked_sizes(options, clip), options.CTX_INIT, "boosting")
        # Words that are not learned could not travel to phase 2.
        return replace(prompts, before=[piece for piece in prompts.before if isinstance(piece, Segment)])

    def prepare(self) -> None:
        """Build the teacher."""
        options = self.cfg.TRAINER.CASPL
        encoder = self.frozen_encoder(options.TEACHER)
        self.teacher_hash = encoder.identity
        if self.teacher_hash == self.student_hash:
            logger.warning("teacher and student have the same weights: there is nothing but the template to distil")
        texts = class_texts(self.cfg, self.dm.dataset.classnames, options.TEACHER_TEMPLATE)
        teacher = CLIPTeacher(encoder, texts, given_pixels(self.cfg))
        scale = self.model.scale if options.TEACHER_SCALE == "student" else None
        # The digest is of this data set's split; images of another one are told apart by its name.
        other = options.IMAGES
        digest = "" if other else getattr(self.dm.dataset, "split_digest", "")
        self.keep(teacher, options.TEACHER, (other or self.cfg.DATASET.NAME, digest))
        self.distillation = Distillation(teacher, options.TEMPERATURE, options.REDUCTION, scale)

    def losses(self, output: Output, batch: Batch) -> Terms:
        """The divergence from the teacher."""
        return {"kl": self.distillation(output, batch)}

    def train(self) -> None:  # type: ignore[override]  # as the engine's own trainers
        """Claim the boosting file, train, write it.

        Raises:
            CasPLError: if another run writes it, or if what is there came from other settings.
        """
        self.writer = BoostingWriter(self.target, self.header())
        with advising(OTHER_FILE):
            self.group.first(self.writer.begin)
        try:
            super().train()
        finally:
            self.writer.end()

    def before_train(self) -> None:
        super().before_train()
        with advising(OTHER_FILE):  # the teacher is here now
            self.writer.know(self.header())

    def after_train(self) -> None:
        steps = self.max_epoch * len(self.train_loader_x)
        with advising(OTHER_FILE):
            path = self.group.first(lambda: self.writer.write(self.model, steps))
        logger.info("boosting tokens written to %s", path)
        super().after_train()

    def header(self) -> Header:
        """What the boosting file says of itself."""
        cfg, options = self.cfg, self.cfg.TRAINER.CASPL
        return Header(
            student=cfg.MODEL.BACKBONE.NAME,
            student_hash=self.student_hash,
            teacher=options.TEACHER,
            teacher_hash=self.teacher_hash,
            dataset=cfg.DATASET.NAME,
            classnames=tuple(self.dm.dataset.classnames),
            template=self._template(),
            seed=cfg.SEED,
            epochs=cfg.OPTIM.MAX_EPOCH,
            temperature=options.TEMPERATURE,
            recipe=self._recipe(),
            images=options.IMAGES,
            description=self.model.description,
            split=getattr(self.dm.dataset, "split_digest", ""),
            pixels=given_pixels(cfg).as_dict(),
        )

    def _recipe(self) -> str:
        """Of the settings; texts count by what they say, wherever their file lies."""
        cfg, given = self.cfg, given_texts(self.cfg)
        if given is None:
            return recipe(cfg, {"CASPL": PHASE_1})
        said = cfg.clone()
        said.defrost()
        said.DATASET.TEXTS = given.digest
        return recipe(said, {"CASPL": PHASE_1})

    def _template(self) -> str:
        """Of the teacher; where its texts are a user's own, their digest."""
        given = None if self.cfg.TRAINER.CASPL.TEACHER_TEMPLATE else given_texts(self.cfg)
        return teacher_template(self.cfg) if given is None else f"texts {given.digest}"
