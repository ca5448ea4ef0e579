"""The student as a frozen encoder: its image tower with tokens that do not learn, or with none."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor

from caspl.prompts.segment import Fixed
from caspl.prompts.vision import VisionCascade
from caspl.towers import CLIP


class StudentEncoder:
    """What a store asks for features of (:class:`caspl.store.FrozenEncoder`).

    Attributes:
        identity: hash of the weights and of all tokens; without tokens that of the weights.
        boosted: whether there are tokens.

    Args:
        clip: shared, not copied.
        vision: the image tower's cascade; copies of its present values are kept.
        weights: hash of the CLIP's weights, as they were before it was cast.
    """

    def __init__(self, clip: CLIP, vision: VisionCascade, weights: str) -> None:
        self._clip, self._vision = clip, vision.fixed()
        segments = list(self._vision.segments.values())
        self.boosted = bool(segments)
        seen = hashlib.sha256(weights.encode())
        for segment in segments:
            assert isinstance(segment, Fixed)
            seen.update(json.dumps(segment.describe_sizes()).encode())
            for value in segment.buffers():
                seen.update(value.float().cpu().numpy().tobytes())
        self.identity = seen.hexdigest()[:16] if segments else weights

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """Normalised images (batch, 3, resolution, resolution) -> normalised features (batch, embed_dim), float32."""
        return self._vision(self._clip.visual, images)
