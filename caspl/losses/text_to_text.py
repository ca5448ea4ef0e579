"""Learned texts as a classifier of hand-written ones (LASP, arXiv 2210.01115)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def text_to_text(scale: Tensor, learned: Tensor, crafted: Tensor, over: str = "learned") -> Tensor:
    """Cross-entropy between the learned and the hand-written texts of classes, a mean over templates and classes.

    Args:
        scale: exp(logit_scale).
        learned: (classes, embed_dim), normalised.
        crafted: (templates, classes, embed_dim), one text a class each.
        over: what is told apart: ``learned`` gives each hand-written text to one of the learned (the release),
            ``crafted`` each learned one to one of the hand-written (the paper).
    """
    with torch.autocast(learned.device.type, enabled=False):
        logits = scale * crafted.float() @ learned.float().t()
    if over == "crafted":
        logits = logits.transpose(1, 2)
    own = torch.arange(len(learned), device=learned.device).expand(len(crafted), -1)
    return F.cross_entropy(logits.flatten(0, 1), own.flatten())
