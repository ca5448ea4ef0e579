"""CasPL, phase 1 (arXiv 2409.17805, section 3.2): distil a larger teacher into boosting tokens, without labels."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from caspl.errors import CasPLError
from caspl.losses import distillation
from caspl.model import Output
from caspl.prompts import Header, Prompts, Segment, both_towers, read_boosting, write_boosting
from caspl.teacher import Teacher
from caspl.templates import fill
from caspl.towers import CLIP
from caspl.zoo import load_clip, normalisation
from dassl.data.data_manager import build_data_loader, build_dataset, build_transform
from dassl.data.datasets import DATASET_REGISTRY
from trainers.base import PromptTrainer
from trainers.boosting import DEFAULTS, asked_sizes, boosting_target, teacher_template
from trainers.folder import recipe
from trainers.registry import register

logger = logging.getLogger(__name__)


@register
class CasPL(PromptTrainer):
    """The boosting trainer. All images of the training split and all class names; labels are not used.

    Where the data set brings unlabelled images (``train_u``), it is these instead. With ``TRAINER.CASPL.IMAGES`` the
    images are those of another data set's training split. The class names stay.
    """

    section = "CASPL"
    saved_as = "CasPL"
    cascades = False
    labelled = False
    defaults = DEFAULTS

    def check_cfg(self, cfg: CfgNode) -> None:
        super().check_cfg(cfg)
        if cfg.SEED < 0:
            raise CasPLError("phase 1 needs a --seed: it is part of the boosting file's name")
        if cfg.TEST.FINAL_MODEL != "last_step":
            raise CasPLError("phase 1 sees no labels, so that TEST.FINAL_MODEL must be last_step")

    def build_data_loader(self) -> None:
        super().build_data_loader()
        if self.options.IMAGES:
            self.train_loader_x = _images_of(self.options.IMAGES, self.cfg)
        elif self.train_loader_u is not None:
            self.train_loader_x = self.train_loader_u

    def prompts(self, clip: CLIP) -> Prompts:
        self.target = boosting_target(self.cfg, clip)
        prompts = both_towers(clip, *asked_sizes(self.options, clip), self.options.CTX_INIT, "boosting")
        # Words that are not learned could not travel to phase 2.
        return replace(prompts, before=[piece for piece in prompts.before if isinstance(piece, Segment)])

    def prepare(self) -> None:
        if self.target.is_file():
            header = read_boosting(self.target).header
            here = (recipe(self.cfg, self.section), tuple(self.dm.dataset.classnames))
            if (header.recipe, header.classnames) != here:
                raise CasPLError(
                    f"{self.target} was made with other settings or classes; "
                    "use another TRAINER.CASPL.BOOSTING_DIR, or delete it"
                )
        name, pixels = self.options.TEACHER, self.cfg.INPUT
        texts = fill(teacher_template(self.cfg), self.dm.dataset.classnames)
        clip = self.precision.place(load_clip(name))
        self.teacher = Teacher(clip, texts, (pixels.PIXEL_MEAN, pixels.PIXEL_STD), normalisation(name))

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
            recipe=recipe(cfg, self.section),
            images=options.IMAGES,
        )


def _images_of(name: str, cfg: CfgNode) -> DataLoader[dict[str, Any]]:
    """The training images of another data set below the same root, loaded as those of this one would be.

    Raises:
        CasPLError: for an unknown data set, or one without training images.
    """
    names = DATASET_REGISTRY.registered_names()
    if name not in names:
        there = ", ".join(sorted(names))
        raise CasPLError(f"TRAINER.CASPL.IMAGES is empty or the name of a data set, not {name!r}; there are {there}")
    other = cfg.clone()
    other.defrost()
    other.DATASET.NAME = name
    other.DATASET.SUBSAMPLE_CLASSES = "all"
    dataset = build_dataset(other)
    if getattr(dataset, "test_only", False):
        raise CasPLError(f"TRAINER.CASPL.IMAGES {name} has test images only; name a data set with training images")
    section = cfg.DATALOADER.TRAIN_X
    transform = build_transform(cfg, is_train=True)
    return build_data_loader(cfg, section.SAMPLER, dataset.train_x, section.BATCH_SIZE, tfm=transform)
