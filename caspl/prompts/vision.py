"""The cascade of the image tower: ``[CLS][patches][segment 1][segment 2]...``.

First-layer tokens are appended after the positional embedding (they get none) and pass ``ln_pre``; deeper ones
replace the outputs in their place and pass nothing (VPT, IVLP). CasPL's order is boosting, then adapting.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from caspl.prompts.segment import Segment
from caspl.prompts.spans import expand_tokens, overwrite


class VisionCascade(nn.Module):
    """Ordered segments of the image tower.

    Args:
        segments: in the order in which they stand after the patches.
    """

    def __init__(self, segments: Sequence[Segment] = ()) -> None:
        super().__init__()
        self.segments = nn.ModuleDict({segment.name: segment for segment in segments})

    def refresh(self, layer: int, x: Tensor) -> Tensor:
        """The tower's hook: x (batch, tokens, width) as block ``layer`` shall see it."""
        segments: list[Segment] = list(self.segments.values())  # type: ignore[arg-type]
        if layer == 0:
            fresh = [expand_tokens(segment.tokens(0), len(x)).to(x.dtype) for segment in segments]
            return torch.cat([x, *fresh], dim=1)
        spans, start = [], x.shape[1] - sum(segment.length for segment in segments)
        for segment in segments:
            if layer < segment.depth:
                spans.append((start, segment.tokens(layer)))
            start += segment.length
        return overwrite(x, spans)

    def only(self, names: Sequence[str]) -> VisionCascade:
        """The same segments (shared, not copied), cut to those named."""
        return VisionCascade([s for name, s in self.segments.items() if name in names])  # type: ignore[misc]
