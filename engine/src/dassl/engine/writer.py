"""Event files for tensorboard, which is optional."""

from __future__ import annotations

from typing import Any

from ..utils.logger import logger

__all__ = ["open_writer"]


def open_writer(log_dir: str) -> Any:
    """Return a SummaryWriter, or None, with a note in the log, where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.info("tensorboard is not installed, so no event files are written (pip install tensorboard)")
        return None
    return SummaryWriter(log_dir=log_dir)
