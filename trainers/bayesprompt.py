"""Bayesian Prompt Learning (arXiv 2210.02390; code: saic-fi/Bayesian-Prompt-Learning): CoOp's context in samples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor
from yacs.config import CfgNode

from caspl.model import Output
from caspl.prompts import Prompts, Sampled, coop_context
from caspl.step import Batch, Terms
from caspl.towers import CLIP
from trainers.base import PromptTrainer
from trainers.registry import register


@register
class BayesPrompt(PromptTrainer):
    """Cross-entropy of the probabilities' mean over samples, and the divergence from a standard normal.

    Logits are logarithms of these probabilities.
    """

    section = "BAYES"
    text_only = True
    defaults = {
        "N_CTX": 4,
        "CTX_INIT": "a photo of a",
        "PREC": "fp16",
        "L": 10,  # samples
        "CONDITIONED": False,  # draw for each image from a distribution of its own
        "KL_WEIGHT": 0.001,
    }
    training_only = ("KL_WEIGHT",)

    @staticmethod
    def prompts(clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        embed_dim = clip.sizes.embed_dim if options.CONDITIONED else 0
        sampled = partial(Sampled, samples=options.L, embed_dim=embed_dim)
        return coop_context(clip.text, options.N_CTX, options.CTX_INIT, segment_type=sampled)

    @property
    def posterior(self) -> Sampled:
        """The segment that is drawn."""
        segment = self.model.text.segments["adapting"]
        assert isinstance(segment, Sampled)
        return segment

    @property
    def noise(self) -> Tensor:
        """Of the present step."""
        return self.posterior.drawn

    def draw(self) -> None:
        self.noise.normal_(generator=self.dice())

    def losses(self, output: Output, batch: Batch) -> Terms:
        divergence = self.options.KL_WEIGHT * self.posterior.divergence(output.image)
        return super().losses(output, batch) | {"kl": divergence}
