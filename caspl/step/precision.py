"""The one place that knows precision modes.

Prompts are float32 masters in every mode; softmax over classes, norms and losses are computed in float32.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from caspl.errors import CasPLError
from caspl.towers import CLIP
from caspl.towers.fold import fold

logger = logging.getLogger(__name__)

MODES = ("fp32", "fp16", "bf16", "amp")
FIRST_SCALE = 1024.0  # of the loss, where gradients pass through float16


@dataclass(frozen=True)
class Precision:
    """How a frozen CLIP computes and how its prompts are stepped.

    Args:
        mode: ``fp32``; ``fp16`` or ``bf16``: the frozen matrices are stored in that type, and all between them flows
            in it; ``amp``: autocast (float16 on CUDA, bfloat16 elsewhere), with the frozen matrices stored in that
            type too, since autocast would cast them anew in every pass. CPUs compute float16 an order of magnitude
            slower than float32, so that there ``fp16``, which every published config asks for, computes in float32.
        device: where the model lives.
    """

    mode: str
    device: torch.device

    def __post_init__(self) -> None:
        check_mode(self.mode)
        if self.mode == "fp16" and self.device.type == "cpu":
            logger.info("fp16 on a CPU: computing in float32")

    @property
    def weights(self) -> torch.dtype:
        """Type of the frozen matrices."""
        if self.mode == "bf16":
            return torch.bfloat16
        if self.mode == "fp16" and self.device.type != "cpu":
            return torch.float16
        return self.autocast or torch.float32

    @property
    def autocast(self) -> torch.dtype | None:
        """Type of autocast products, None without autocast."""
        if self.mode != "amp":
            return None
        return torch.float16 if self.device.type == "cuda" else torch.bfloat16

    @property
    def computes(self) -> torch.dtype:
        """Type of the products."""
        return self.autocast or self.weights

    def place(self, clip: CLIP, folded: bool = True) -> CLIP:
        """Move a CLIP to the device and cast its matrices; on a GPU, fold what saves kernels there, if that may be."""
        clip = clip.to(self.device)
        if self.device.type == "cuda" and folded:
            fold(clip)
        return clip.cast(self.weights)

    def compute(self) -> AbstractContextManager[object]:
        """The context in which a forward pass runs."""
        dtype = self.autocast
        return nullcontext() if dtype is None else torch.autocast(self.device.type, dtype=dtype)

    def scaler(self) -> torch.amp.GradScaler:
        """A loss scaler; it does something only where gradients pass through float16."""
        return torch.amp.GradScaler(self.device.type, init_scale=FIRST_SCALE, enabled=self.scaled)

    @property
    def scaled(self) -> bool:
        """Whether gradients pass through float16."""
        return torch.float16 in (self.weights, self.autocast)


def check_mode(mode: str) -> None:
    """Refuse an unknown mode.

    Raises:
        CasPLError: naming those that there are.
    """
    if mode not in MODES:
        raise CasPLError(f"unknown precision {mode!r}: choose one of {', '.join(MODES)}")
