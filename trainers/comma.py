"""COMMA (code: hulianyuyy/COMMA): deep text tokens, image tokens made from both, and texts that stay near CLIP's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from yacs.config import CfgNode

from caspl.dassl.section import dataset_template
from caspl.losses import output_distance
from caspl.model import Output
from caspl.prompts import Generated, Prompts, Segment, plain_text, text_context
from caspl.prompts.templates import KGCOOP_TEMPLATES
from caspl.step import Batch, Terms
from caspl.towers import CLIP
from trainers.base import PromptTrainer
from trainers.registry import register


@register
class COMMA(PromptTrainer):
    """Cross-entropy, and the distance of the last text block's outputs to those of the reference, at every position."""

    section = "COMMA"
    saved_as = "MultiModalPromptLearner"
    defaults = {
        "N_CTX": 2,
        "CTX_INIT": "a photo of a",
        "PREC": "fp16",
        "PROMPT_DEPTH": 9,
        "WEIGHT": 1.0,
        "GENERATORS": "learned",  # the nets that make image tokens: learned (paper) | fixed (release)
    }
    training_only: ClassVar[tuple[str, ...]] = ("WEIGHT",)
    frozen: Tensor  # outputs (classes, positions, width) of the reference

    @staticmethod
    def prompts(clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        depth = min(options.PROMPT_DEPTH, clip.sizes.most_layers)
        before = text_context(clip.text, options.N_CTX, depth, options.CTX_INIT, beyond=True)
        sizes = (clip.sizes.vision_width, clip.sizes.vision_layers)
        sources = [piece for piece in before if isinstance(piece, Segment)]
        made = [Generated(one.name, one, *sizes, options.GENERATORS == "learned") for one in sources]
        return Prompts(before, vision=made)

    @torch.no_grad()
    def prepare(self) -> None:
        model, segments = self.model, self.reference_segments
        model.text_budget = -(-model.text_budget // 2)  # two passes share it
        template = dataset_template(self.cfg, published=KGCOOP_TEMPLATES)
        text = model.text.only(segments) if segments else plain_text(template)
        text.set_classes(model.text.classnames, model.clip.text)
        self.frozen = text.outputs(model.clip.text).float()

    def losses(self, output: Output, batch: Batch) -> Terms:
        outputs, frozen = self.learner.text_outputs(output.chosen), self.frozen
        if output.chosen is not None:
            frozen = frozen.index_select(0, output.chosen)
        return super().losses(output, batch) | {"text": self.options.WEIGHT * output_distance(outputs, frozen)}
