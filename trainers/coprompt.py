"""CoPrompt (arXiv 2306.01195; code: ShuvenduRoy/CoPrompt): MaPLe with adapters, consistent with plain CLIP."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F
from yacs.config import CfgNode

from caspl.dassl.section import dataset_template
from caspl.errors import advising
from caspl.losses import cosine_distance
from caspl.model import Output
from caspl.prompts import Adapter, Prompts
from caspl.prompts.class_texts import ClassTexts
from caspl.prompts.templates import KGCOOP_TEMPLATES
from caspl.step import Batch, Terms
from caspl.towers import CLIP
from trainers.maple import MaPLe
from trainers.registry import register

logger = logging.getLogger(__name__)
TEXTS = "TRAINER.COPROMPT.TEXTS"
IMAGE, TEXT = 0.1, 0.2
"""Parts of the features that come from the adapters."""


@register
class CoPrompt(MaPLe):
    """Cross-entropy, and distances of texts to sentences about the classes and of images to another view of them."""

    section = "COPROMPT"
    defaults = MaPLe.defaults | {
        "N_CTX": 4,
        "PROMPT_DEPTH": 12,
        "W": 8.0,
        "DISTILL": "cosine",
        "TEXTS": "",  # JSON {class: [sentences]}; empty: the data set's template
    }
    training_only = ("W", "DISTILL", "TEXTS")
    sentences: Tensor  # features (most, classes, embed_dim) of the reference
    which: Tensor  # (1,) number of the sentences of the present step

    def contents(self) -> dict[str, str]:
        return super().contents() | ({TEXTS: self._given().digest} if self.options.TEXTS else {})

    def _given(self) -> ClassTexts:
        with advising(f"it is {TEXTS}"):
            return ClassTexts.read(self.options.TEXTS)

    @staticmethod
    def prompts(clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        made, width = MaPLe.prompts(clip, options, classnames), clip.sizes.embed_dim
        heads = [Adapter("adapter", width, TEXT)]
        return replace(made, heads=heads, vision=[*made.vision, Adapter("adapter", width, IMAGE)])

    def prepare(self) -> None:
        segments, names = self.reference_segments, self.model.text.classnames
        if self.cfg.DATALOADER.K_TRANSFORMS < 2:
            logger.warning("DATALOADER.K_TRANSFORMS is 1: the reference sees the very view that the student sees")
        template = dataset_template(self.cfg, published=KGCOOP_TEMPLATES)
        self.reference = self.reference_of(template)
        self.sentences = self.reference.text.unsqueeze(0)
        if self.options.TEXTS and not segments:
            given = self._given()
            with advising(f"it is {TEXTS}"):
                self.sentences = self.reference.each(given.of(names))
        elif self.options.TEXTS:
            logger.warning("%s is not read: behind boosting tokens stands the name alone", TEXTS)
        self.which = torch.zeros(1, dtype=torch.long, device=self.device)

    def draw(self) -> None:
        self.which.random_(len(self.sentences), generator=self.dice())

    def losses(self, output: Output, batch: Batch) -> Terms:
        sentences = self.sentences.index_select(0, self.which)[0]
        if output.chosen is not None:
            sentences = sentences.index_select(0, output.chosen)
        distance = cosine_distance if self.options.DISTILL == "cosine" else F.mse_loss
        image = self.reference.encode_image(batch.last)
        return super().losses(output, batch) | {
            "text": self.options.W * distance(output.text, sentences),
            "image": self.options.W * distance(output.image, image),
        }
