"""Names of interpolation modes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["INTERPOLATION_MODES"]


class _InterpolationModes(Mapping[str, Any]):
    """Maps a configured name to torchvision's mode, loading torchvision when first asked."""

    names = ("bilinear", "bicubic", "nearest")

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        from torchvision.transforms import InterpolationMode

        return InterpolationMode(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


INTERPOLATION_MODES = _InterpolationModes()
