"""KgCoOp (code: htyao89/KgCoOp): CoOp whose text features stay near those of hand-written words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from yacs.config import CfgNode

from caspl.dassl.section import dataset_template
from caspl.losses import cosine_distance
from caspl.model import Output
from caspl.prompts import Prompts, coop_context
from caspl.prompts.templates import KGCOOP_TEMPLATES
from caspl.step import Batch, Terms
from caspl.towers import CLIP
from trainers.base import PromptTrainer
from trainers.registry import register


@register
class KgCoOp(PromptTrainer):
    """Cross-entropy, and the distance of each class's feature to its hand-written one.

    The distance is the release's, 1 - cosine, which is half the squared Euclidean one of unit vectors.
    """

    section = "KGCOOP"
    text_only = True
    defaults = {"N_CTX": 4, "CTX_INIT": "a photo of a", "W": 8.0, "PREC": "fp16"}
    training_only: ClassVar[tuple[str, ...]] = ("W",)
    templates = KGCOOP_TEMPLATES

    @staticmethod
    def prompts(clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        return coop_context(clip.text, options.N_CTX, options.CTX_INIT)

    def prepare(self) -> None:
        template = dataset_template(self.cfg, published=self.templates)
        self.reference = self.reference_of(template)

    def losses(self, output: Output, batch: Batch) -> Terms:
        distance = cosine_distance(output.text, self.reference.text_of(output.chosen))
        return super().losses(output, batch) | {"knowledge": self.options.W * distance}
