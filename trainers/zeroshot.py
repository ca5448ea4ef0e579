"""Zero-shot CLIP (arXiv 2103.00020): one template, nothing learned. ``CasPL_ZeroshotCLIP`` is boosting alone."""

from __future__ import annotations

from caspl.prompts import Prompts
from caspl.templates import checked, template_for
from caspl.towers import CLIP
from trainers.base import PromptTrainer
from trainers.registry import register


@register
class ZeroshotCLIP(PromptTrainer):
    """Class names in the data set's template."""

    section = "ZSCLIP"
    defaults = {"TEMPLATE": "", "PREC": "fp32"}  # empty template: the data set's own

    def prompts(self, clip: CLIP) -> Prompts:
        return Prompts(template=checked(self.options.TEMPLATE or template_for(self.cfg.DATASET.NAME)))
