"""PromptKD (arXiv 2403.02781): an image tower learns from a larger, prompted CLIP, on images without labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from yacs.config import CfgNode

from caspl.dassl.images import training_images
from caspl.dassl.kept_teacher import KeptTeacher
from caspl.dassl.outcome import Sections
from caspl.dassl.run_folder import require_same_contents
from caspl.dassl.section import class_texts, dataset_template, given_texts
from caspl.dassl.student import given_pixels
from caspl.errors import CasPLError, advising
from caspl.losses import distillation
from caspl.model import Output, PromptedCLIP
from caspl.prompts import Projector, Prompts, vision_tokens
from caspl.prompts.described import mean_features
from caspl.prompts.given import GivenTexts
from caspl.step import Batch, Terms
from caspl.step.graph import Recorder
from caspl.teachers import CLIPTeacher
from caspl.teachers.tuned import TunedEncoder, load_tuned, names_a_run
from caspl.towers import CLIP
from trainers.base import PromptTrainer
from trainers.registry import register

logger = logging.getLogger(__name__)

STAGE_1 = (
    "TRAINER.PROMPTKD.TEACHER is the folder of a run on the teacher (stage 1: --trainer PromptSRC with the teacher as "
    "--backbone), a checkpoint of it, or the name of a CLIP, which teaches without tokens"
)
TEACHER = "TRAINER.PROMPTKD.TEACHER"


@register
class PromptKD(KeptTeacher, PromptTrainer):
    """Image tokens and a projector; images are compared with the teacher's own features of all class names.

    ``DATASET.NUM_SHOTS`` and ``SUBSAMPLE_CLASSES`` say what is tested and what the teacher was shown with labels. The
    student looks at the training images of all classes, without labels: all of them, or ``SHOTS`` of each class.
    """

    section = "PROMPTKD"
    saved_as = "VLPromptLearner"
    labelled = False
    defaults = {
        "TEACHER": "",  # a run's folder, a checkpoint, or a CLIP
        "TEACHER_TEMPLATE": "",  # of a CLIP that has no tokens; empty: the data set's own
        "N_CTX_VISION": 4,
        "PROMPT_DEPTH_VISION": 9,
        "KD_WEIGHT": 1000.0,
        "TEMPERATURE": 1.0,
        "SHOTS": -1,  # unlabelled images a class; -1: all
        "PREC": "fp16",
    }
    # What the teacher holds counts, not where it lies.
    training_only = ("TEACHER", "KD_WEIGHT", "TEMPERATURE", "SHOTS")
    teacher: CLIPTeacher
    _all: Sequence[str] = ()  # names of the data set's classes, whatever subset of them is tested
    _learner: PromptedCLIP | None = None

    def check_cfg(self, cfg: CfgNode) -> None:
        super().check_cfg(cfg)
        if not cfg.TRAINER.PROMPTKD.TEACHER:
            raise CasPLError(f"{type(self).__name__} has no teacher: {STAGE_1}")
        if cfg.DATALOADER.TRAIN_X.BATCH_SIZE < 2:
            raise CasPLError(
                f"{type(self).__name__} normalises over batches: DATALOADER.TRAIN_X.BATCH_SIZE is 2 or more"
            )

    def sections(self) -> Sections:
        counted = tuple(key for key in self.defaults if key != "TEACHER")
        return {**super().sections(), self.section: counted}

    def contents(self) -> dict[str, str]:
        encoder = self.teacher.encoder
        given = None if self.options.TEACHER_TEMPLATE else given_texts(self.cfg)
        words = given.digest if given is not None else dataset_template(self.cfg, self.options.TEACHER_TEMPLATE)
        says = "" if isinstance(encoder, TunedEncoder) else f" {words}"
        return super().contents() | {TEACHER: encoder.identity + says}

    def build_data_loader(self) -> None:
        super().build_data_loader()
        if not getattr(self.dm.dataset, "test_only", False):
            self._all, loader = training_images(self.cfg, shots=self.options.SHOTS)
            self.train_loader_x = loader if self.train_loader_u is None else self.train_loader_u
            self.take_views()

    def look_for_views(self) -> None:
        """They are there already: it is the teacher whose features are kept."""

    def prompts(self, clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        return Prompts(vision=vision_tokens(clip, options.N_CTX_VISION, options.PROMPT_DEPTH_VISION))

    def assemble(self, clip: CLIP, prompts: Prompts, classnames: Sequence[str]) -> PromptedCLIP:
        """The image tower with its projector, before the teacher's features of the classes."""
        if self.boosted and not any(segment.name == "boosting" for segment in prompts.vision):
            raise CasPLError(f"{type(self).__name__} has an image tower alone, and these boosting tokens are for texts")
        names = list(self._all or classnames)
        with advising(STAGE_1), self.precision.compute():
            self.teacher = self._teacher(names)
        projector = Projector("projector", clip.sizes.embed_dim, self.teacher.text.shape[1], self.group)
        prompts = Prompts(vision=(*prompts.vision, projector), combine="given")
        texts = GivenTexts(names, self.teacher.text, self.class_features)
        model = PromptedCLIP(clip, texts, prompts.cascade()[1], classnames, prompts.describe()).to(self.device)
        self._learner = model if names == list(classnames) else model.for_classes(names)
        return model

    @torch.no_grad()
    def class_features(self, names: Sequence[str]) -> Tensor:
        """The teacher's normalised features (names, its embed_dim) of class names, float32."""
        with self.precision.compute():
            return mean_features(self.teacher.encoder.encode_text, self._texts(names))

    @property
    def learner(self) -> PromptedCLIP:
        return self._learner or self.model

    def trained_on(self) -> dict[str, Any]:
        told = getattr(self.teacher.encoder, "trained_on", {})
        return super().trained_on() | {"unlabelled": "all", "teacher": {"name": self.options.TEACHER, **told}}

    def prepare(self) -> None:
        shown = getattr(self.teacher.encoder, "trained_on", {}).get("classes", "")
        mine = self.cfg.DATASET.SUBSAMPLE_CLASSES
        if shown and shown != mine:
            logger.warning("the teacher was trained on %s classes, and this run is said to be on %s", shown, mine)
        kept = f"tuned {self.teacher.encoder.identity}" if names_a_run(self.options.TEACHER) else self.options.TEACHER
        split = getattr(self.dm.dataset, "split_digest", "")
        self.keep(self.teacher, kept, (self.cfg.DATASET.NAME, split))
        logger.info("the student looks at images of %d classes, without labels", len(self.learner.text.classnames))

    def losses(self, output: Output, batch: Batch) -> Terms:
        """The divergence from the teacher, a mean over images and classes, as released."""
        options, told = self.options, self.teacher.logits(batch)
        return {"kd": options.KD_WEIGHT * distillation(output.logits, told, options.TEMPERATURE, "mean")}

    def recorder_of_work(self) -> Recorder | None:
        """What processes sum within a step cannot be recorded."""
        return None if self.group.world > 1 else super().recorder_of_work()

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        if directory:
            require_same_contents(self.contents(), directory)
        super().load_model(directory, epoch)

    def _teacher(self, names: Sequence[str]) -> CLIPTeacher:
        name = self.options.TEACHER
        if names_a_run(name):
            with self.group.in_turn():
                encoder = load_tuned(name, self.precision)
            return CLIPTeacher(encoder, names, given_pixels(self.cfg))
        plain = self.frozen_encoder(name)
        return CLIPTeacher(plain, self._written(names), given_pixels(self.cfg))

    def _texts(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """What the teacher is asked for classes."""
        tuned = isinstance(self.teacher.encoder, TunedEncoder)
        return [(name,) for name in names] if tuned else self._written(names)

    def _written(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        return class_texts(self.cfg, names, self.options.TEACHER_TEMPLATE)
