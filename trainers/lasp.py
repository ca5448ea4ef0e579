"""LASP (arXiv 2210.01115; code: 1adrianb/lasp): CoOp whose texts must know hand-written ones apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor
from yacs.config import CfgNode

from caspl.losses import text_to_text
from caspl.model import Output, PromptedCLIP
from caspl.prompts import Norms, Prompts, Shift, coop_context
from caspl.prompts.templates import LASP_TEMPLATES, checked
from caspl.step import Batch, Terms
from caspl.teachers import Reference
from caspl.towers import CLIP
from trainers.base import PromptTrainer
from trainers.registry import register

NOISE = 0.05
"""Standard deviation of what is added to the hand-written features, in the steps that have noise."""


@register
class LASP(PromptTrainer):
    """Cross-entropy, and cross-entropy between learned and hand-written texts of all names that the data set has.

    Beside the context, one vector behind the text tower and the layer norms of the image tower learn. With VIRTUAL
    (LASP-V) images are classified among all names too.
    """

    section = "LASP"
    text_only = True
    defaults = {
        "N_CTX": 4,
        "CTX_INIT": "a photo of a",
        "PREC": "amp",
        "LASP_PROMPTS": LASP_TEMPLATES,
        "LASP_LOSS_WEIGHT": 5.0,
        "ENABLE_CORRECTION": True,
        "FINETUNE_VIT_LN": True,
        "SOFTMAX": "learned",  # over the learned texts (release) | over the crafted ones (paper)
        "NOISE": 0.5,  # probability that a step has it
        "CLIP_NORM": 1.0,  # largest norm of all gradients together; 0: any
        "VIRTUAL": False,
    }
    training_only = ("LASP_PROMPTS", "LASP_LOSS_WEIGHT", "SOFTMAX", "NOISE", "CLIP_NORM", "VIRTUAL")
    rates: ClassVar[dict[str, float]] = {"vision.norms.": 0.1}
    more_names: PromptedCLIP | None = None
    crafted: Tensor  # features (templates, names, embed_dim)
    noise: Tensor

    @staticmethod
    def prompts(clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        context = coop_context(clip.text, options.N_CTX, options.CTX_INIT)
        heads = [Shift("correction", clip.sizes.embed_dim)] if options.ENABLE_CORRECTION else []
        norms = [Norms.like("norms", clip.visual)] if options.FINETUNE_VIT_LN else []
        return replace(context, heads=heads, vision=norms)

    def class_names(self) -> list[str]:
        own = super().class_names()
        return [*own, *self.further(own)] if self.options.VIRTUAL else own

    def further(self, names: Sequence[str]) -> list[str]:
        """Names that the data set has beside these."""
        return [name for name in getattr(self.dm.dataset, "all_classnames", ()) if name not in names]

    def prepare(self) -> None:
        names, segments = self.model.text.classnames, self.reference_segments
        further = self.further([*names, *super().class_names()]) if not self.options.VIRTUAL else []
        if further:
            self.model.text_budget = -(-self.model.text_budget // 2)  # two passes share it
        self.more_names = self.model.for_classes(further) if further else None
        everything = self.model.for_classes([*names, *further])
        # Behind boosting tokens stands the name alone, whatever the template.
        templates = [checked(template) for template in self.options.LASP_PROMPTS][: 1 if segments else None]
        self.crafted = torch.stack([Reference(everything, (one,), segments).text for one in templates])
        self.noise, self.clip_norm = torch.zeros_like(self.crafted), self.options.CLIP_NORM

    def draw(self) -> None:
        dice = self.dice()
        noisy = torch.rand((), generator=dice, device=self.device) < self.options.NOISE
        self.noise.normal_(generator=dice).mul_(noisy)

    def losses(self, output: Output, batch: Batch) -> Terms:
        crafted, learned = self.crafted + NOISE * self.noise, output.text
        if output.chosen is not None:
            rest = torch.arange(len(self.learner.text.classnames), crafted.shape[1], device=learned.device)
            crafted = crafted.index_select(1, torch.cat([output.chosen, rest]))
        if self.more_names is not None:
            learned = torch.cat([learned, self.more_names.encode_text()])
        distance = text_to_text(self.model.scale, learned, crafted, self.options.SOFTMAX)
        return super().losses(output, batch) | {"text": self.options.LASP_LOSS_WEIGHT * distance}
