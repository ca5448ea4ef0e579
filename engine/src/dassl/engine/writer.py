"""Event files for tensorboard, which is optional."""

from __future__ import annotations

from typing import Any

from ..utils.logger import logger

__all__ = ["SummaryWriter", "open_writer"]


class SummaryWriter:
    """Tensorboard's writer under the name that other repositories import here; made only where it is called."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return tensorboard's own."""
        from torch.utils.tensorboard import SummaryWriter as Tensorboard

        return Tensorboard(*args, **kwargs)


def open_writer(log_dir: str) -> Any:
    """Return a SummaryWriter, or None, with a note in the log, where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.info("tensorboard is not installed, so no event files are written (pip install tensorboard)")
        return None
    return SummaryWriter(log_dir=log_dir)
