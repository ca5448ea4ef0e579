"""Terms that keep prompted features near those of a frozen reference (PromptSRC, arXiv 2307.06948, section 3.2)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from caspl.losses.divergence import distillation


def feature_distance(features: Tensor, reference: Tensor) -> Tensor:
    """Mean absolute difference over all entries of two (n, embed_dim) sets of normalised features."""
    return (features.float() - reference.float()).abs().mean()


def logit_divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """KL(reference || prompted) of (batch, classes) logits, summed and divided by the number of logits."""
    return distillation(logits, reference, reduction="mean")


def cosine_distance(features: Tensor, reference: Tensor) -> Tensor:
    """1 minus the mean cosine of the rows of two (n, embed_dim) sets of normalised features (KgCoOp, TCP, CoPrompt).

    Computed as half their squared distance, which is the same and keeps its digits where they are near.
    """
    return (features.float() - reference.float()).square().sum(dim=-1).mean() / 2


def output_distance(outputs: Tensor, reference: Tensor) -> Tensor:
    """1 minus the mean cosine of two (..., width) sets of a block's outputs, over all positions (COMMA)."""
    return 1 - F.cosine_similarity(outputs.float(), reference.float(), dim=-1, eps=1e-7).mean()
