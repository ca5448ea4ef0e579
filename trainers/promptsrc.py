"""PromptSRC (arXiv 2307.06948): IVLP's tokens, kept near frozen CLIP and averaged over the epochs."""

from __future__ import annotations

from typing import Any

import torch

from caspl.classifier import class_logits
from caspl.errors import CasPLError
from caspl.losses import feature_distance, logit_divergence
from caspl.model import Output
from caspl.prompts.templates import ENSEMBLE
from caspl.step import Batch, GaussianAverage, Terms
from trainers.ivlp import IVLP
from trainers.registry import register


@register
class PromptSRC(IVLP):
    """Cross-entropy, distances of both features and divergence of the logits to a frozen reference."""

    section = "PROMPTSRC"
    reference_looks = True
    defaults = IVLP.defaults | {
        "N_CTX_VISION": 4,
        "N_CTX_TEXT": 4,
        "TEXT_LOSS_WEIGHT": 25,
        "IMAGE_LOSS_WEIGHT": 10,
        "GPA_MEAN": 15,
        "GPA_STD": 1,
    }

    training_only = ("TEXT_LOSS_WEIGHT", "IMAGE_LOSS_WEIGHT", "GPA_MEAN", "GPA_STD")

    def prepare(self) -> None:
        self.reference = self.reference_of(*ENSEMBLE)
        self.average = GaussianAverage(self.options.GPA_MEAN, self.options.GPA_STD, self.max_epoch)

    def losses(self, output: Output, batch: Batch) -> Terms:
        options, reference = self.options, self.reference
        frozen = reference.image(batch)
        text = reference.text_of(output.chosen)
        frozen_logits = class_logits(self.model.scale, frozen, text)
        return super().losses(output, batch) | {
            "text": options.TEXT_LOSS_WEIGHT * feature_distance(output.text, text),
            "image": options.IMAGE_LOSS_WEIGHT * feature_distance(output.image, frozen),
            "logits": logit_divergence(output.logits, frozen_logits),
        }

    def before_train(self) -> None:
        super().before_train()
        if self.average.epochs_seen != self.start_epoch < self.max_epoch:
            raise CasPLError(
                f"the run in {self.output_dir} cannot be continued from its checkpoint alone: the average over epochs "
                "needs its resume.pt; use another --output-dir"
            )

    @torch.no_grad()
    def finish_epoch(self) -> None:
        learned = self.segments.learned()
        self.average.add(self.epoch + 1, learned)
        if self.epoch + 1 == self.max_epoch:
            for name, value in self.average.result().items():
                learned[name].copy_(value)

    def resume_state(self) -> dict[str, Any]:
        return super().resume_state() | {"average": self.average.state_dict()}

    def load_resume_state(self, state: dict[str, Any]) -> None:
        super().load_resume_state(state)
        self.average.load_state_dict(state["average"])
