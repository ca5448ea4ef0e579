"""Running averages of the numbers that a training loop reports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

__all__ = ["AverageMeter", "MetricMeter", "number", "require_metrics"]


def number(value: Any) -> Any:
    """Return a tensor or an array of one element as a number, and anything else as it is."""
    # Tensors and numpy scalars alike, without importing either.
    return value.item() if hasattr(value, "item") else value


def require_metrics(summary: Any) -> None:
    """Raise TypeError unless ``summary`` is a dictionary."""
    if not isinstance(summary, Mapping):
        raise TypeError("Input to MetricMeter.update() must be a dictionary")


class AverageMeter:
    """The latest value of a quantity and its average.

    Args:
        ema: average exponentially, 0.9 old and 0.1 new from a start of 0, instead of evenly.
    """

    def __init__(self, ema: bool = False) -> None:
        self.ema = ema
        self.reset()

    def reset(self) -> None:
        """Forget all values."""
        self.val: float = 0
        self.avg: float = 0
        self.sum: float = 0
        self.count: int = 0

    def update(self, val: Any, n: int = 1) -> None:
        """Add ``val`` (a number or a one-element tensor), seen ``n`` times."""
        self.val = number(val)
        self.sum += self.val * n
        self.count += n
        self.avg = self.avg * 0.9 + self.val * 0.1 if self.ema else self.sum / self.count


class MetricMeter:
    """One :class:`AverageMeter` a name, printed in one line.

    Args:
        delimiter: what stands between two metrics in ``str()``.
    """

    def __init__(self, delimiter: str = " ") -> None:
        self.meters: dict[str, AverageMeter] = defaultdict(AverageMeter)
        self.delimiter = delimiter

    def update(self, input_dict: Mapping[str, Any] | None) -> None:
        """Add one value a name; None is ignored, anything but a dictionary is a TypeError."""
        if input_dict is None:
            return
        require_metrics(input_dict)
        for name, value in input_dict.items():
            self.meters[name].update(value)

    def __str__(self) -> str:
        parts = (f"{name} {meter.val:.4f} ({meter.avg:.4f})" for name, meter in self.meters.items())
        return self.delimiter.join(parts)
