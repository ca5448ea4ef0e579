"""Where a run computes."""

from __future__ import annotations

import torch
from yacs.config import CfgNode

__all__ = ["configured_device"]


def configured_device(cfg: CfgNode) -> torch.device:
    """Return CUDA's current device if USE_CUDA wants it and there is one, else the CPU. CUDA is not started."""
    return torch.device("cuda" if cfg.USE_CUDA and torch.cuda.is_available() else "cpu")
