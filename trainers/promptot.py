"""Prompt-OT: IVLP's tokens, and optimal transport of image and text features to frozen CLIP's."""

from __future__ import annotations

import torch

from caspl.losses import transport
from caspl.model import Output
from caspl.prompts.templates import DEFAULT_TEMPLATE
from caspl.step import Batch, Terms
from trainers.ivlp import IVLP
from trainers.registry import register


@register
class PromptOT(IVLP):
    """Cross-entropy, and the cost of moving each image's feature beside its class's to those of the reference."""

    section = "PROMPTOT"
    reference_looks = True
    defaults = IVLP.defaults | {"N_CTX_VISION": 4, "N_CTX_TEXT": 4, "DIV": 10.0}
    training_only = ("DIV",)

    whole_batch = "the transport between its images"

    def prepare(self) -> None:
        self.reference = self.reference_of(DEFAULT_TEMPLATE)

    def losses(self, output: Output, batch: Batch) -> Terms:
        reference, labels = self.reference, batch.labels
        joint = torch.cat([output.image, output.text[labels]], dim=-1)
        frozen = torch.cat([reference.image(batch), reference.text[labels]], dim=-1)
        return super().losses(output, batch) | {"transport": self.options.DIV * transport(joint, frozen)}
