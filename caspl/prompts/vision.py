"""The cascade of the image tower: ``[CLS][patches][segment 1][segment 2]...``.

First-layer tokens are appended after the positional embedding (they get none) and pass ``ln_pre``; deeper ones
take the place of outputs, or follow them, and pass nothing (VPT, IVLP, MPL). CasPL's order is boosting, then
adapting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.errors import CasPLError
from caspl.prompts.segment import AnySegment, by_name
from caspl.prompts.spans import expand_tokens, overwrite
from caspl.towers.vision import VisionTower


class VisionCascade(nn.Module):
    """Ordered segments of the image tower.

    Args:
        segments: in the order in which they stand after the patches.
    """

    def __init__(self, segments: Sequence[AnySegment] = ()) -> None:
        super().__init__()
        self.segments = nn.ModuleDict(by_name(segments))

    def forward(self, tower: VisionTower, images: Tensor) -> Tensor:
        """Images (batch, 3, resolution, resolution) -> normalised features (batch, embed_dim), float32."""
        return F.normalize(self.features(tower, images).float(), dim=-1)

    def features(self, tower: VisionTower, images: Tensor) -> Tensor:
        """Likewise, not normalised, in the tower's dtype where no segment changes them."""
        segments: list[AnySegment] = list(self.segments.values())  # type: ignore[arg-type]
        norms = next((segment.pairs for segment in segments if segment.pairs), ())
        fresh = {segment.name: segment.all_tokens() for segment in segments}
        features = tower(images, partial(self.refresh, fresh=fresh), norms)
        for segment in segments:
            features = segment.finish(features)
        return features

    def refresh(self, layer: int, x: Tensor, fresh: Mapping[str, Sequence[Tensor]] | None = None) -> Tensor:
        """The tower's hook: x (batch, tokens, width) as block ``layer`` shall see it; after layer 0 changed in place.

        A segment that removes more than it has takes the rest from the patches, the last ones first. ``fresh`` are
        all tokens of each segment by its name; without them they are made here.
        """
        segments: list[AnySegment] = list(self.segments.values())  # type: ignore[arg-type]
        if not any(layer < segment.depth for segment in segments):
            return x
        if fresh is None:
            fresh = {segment.name: segment.all_tokens() for segment in segments}
        lengths = [segment.length_at(layer - 1) if layer else 0 for segment in segments]
        if layer and all(_renews(*pair, layer) for pair in zip(segments, lengths, strict=True)):
            places = [x.shape[1] - sum(lengths[number:]) for number in range(len(segments))]
            pairs = zip(places, segments, strict=True)
            return overwrite(x, [(place, fresh[one.name][layer]) for place, one in pairs if layer < one.depth])
        patches, *own = x.split([x.shape[1] - sum(lengths), *lengths], dim=1)
        parts = []
        for segment, tokens in zip(segments, own, strict=True):
            if layer < segment.depth:
                kept = tokens.shape[1] - (segment.removed(layer) if layer else 0)
                if kept < 0:
                    patches = _shortened(patches, -kept, segment.name)
                new = expand_tokens(fresh[segment.name][layer], x.shape[0]).to(x.dtype)
                parts += [tokens[:, : max(kept, 0)], new]
            else:
                parts.append(tokens)
        return torch.cat([patches, *parts], dim=1)

    @torch.no_grad()
    def fixed(self) -> VisionCascade:
        """The same tokens as values, whatever they are made from; later training does not change them."""
        segments: list[AnySegment] = list(self.segments.values())  # type: ignore[arg-type]
        return VisionCascade([segment.fixed() for segment in segments])

    def widened(self, width: int) -> int:
        """How many features images have, of ``width`` that the tower gives.

        Raises:
            ValueError: a segment takes another number of them.
        """
        for segment in self.segments.values():
            width = segment.widened(width)  # type: ignore[operator]
        return width

    def only(self, names: Sequence[str]) -> VisionCascade:
        """The same segments (shared, not copied), cut to those named."""
        return VisionCascade([s for name, s in self.segments.items() if name in names])  # type: ignore[misc]


def _renews(segment: AnySegment, length: int, layer: int) -> bool:
    """Whether a segment puts as many tokens in the place of all that it has, or lets them flow on."""
    return layer >= segment.depth or segment.removed(layer) == length == segment.length_at(layer)


def _shortened(patches: Tensor, count: int, name: str) -> Tensor:
    """Without the last ``count`` patches; CLS, which is row 0, is no patch."""
    if count >= patches.shape[1]:
        raise CasPLError(f"the segment {name!r} removes {count} patches, but the image has {patches.shape[1] - 1}")
    return patches[:, :-count]
