"""Zero-shot CLIP (arXiv 2103.00020): nothing learned. ``CasPL_ZeroshotCLIP`` is boosting alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import ClassVar

from yacs.config import CfgNode

from caspl.dassl.section import dataset_template, zero_shot_prompts
from caspl.prompts import Prompts
from caspl.prompts.templates import SELECTED
from caspl.towers import CLIP
from trainers.base import PromptTrainer
from trainers.registry import register

logger = logging.getLogger(__name__)


@register
class ZeroshotCLIP(PromptTrainer):
    """Class names in the data set's template; beside boosting tokens they stand alone, as in phase 1."""

    section = "ZSCLIP"
    text_only = True
    learns = False
    keeps_words: ClassVar[bool] = False  # behind boosting tokens
    defaults = {"TEMPLATE": "", "PREC": "fp32"}  # empty template: the data set's own

    def prompts(self, clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        if self.boosted:
            if self.cfg.DATASET.TEXTS:
                stands = "stand the templates" if self.keeps_words else "stands the name alone"
                logger.warning("DATASET.TEXTS is not read: behind boosting tokens %s", stands)
            return Prompts(templates=self.templates()) if self.keeps_words else Prompts()
        return zero_shot_prompts(self.cfg, self.templates())

    def templates(self) -> tuple[str, ...]:
        """As configured, else the data set's."""
        return (dataset_template(self.cfg, self.options.TEMPLATE),)


@register
class ZeroshotCLIP2(ZeroshotCLIP):
    """Mean of the features in seven selected ImageNet templates and, but for ImageNet, the data set's own."""

    keeps_words = True

    def templates(self) -> tuple[str, ...]:
        return SELECTED if self.cfg.DATASET.NAME == "ImageNet" else (*SELECTED, *super().templates())
