"""An image tower whose features are brought into the space of another model's (PromptKD, arXiv 2403.02781)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.batch_norm import BatchNorm
from caspl.group import Group
from caspl.prompts.segment import AnySegment
from caspl.prompts.vision import VisionCascade
from caspl.towers.vision import VisionTower


class Projector(nn.Module):
    """Two linear layers with batch normalisation and ReLU between them, in float32 whatever the towers compute in.

    Args:
        given, wanted: widths of the features that come and go.
        group: of the processes that have each batch together.
    """

    def __init__(self, given: int, wanted: int, group: Group | None = None) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(given, wanted), BatchNorm(wanted, group)
        self.last = nn.Linear(wanted, wanted)

    def forward(self, features: Tensor) -> Tensor:
        """Features (batch, given), not normalised -> (batch, wanted), not normalised, float32."""
        with torch.autocast(features.device.type, enabled=False):
            return self.last(F.relu(self.norm(self.first(features.float()))))

    def fixed(self) -> Projector:
        """As it is now, for tests; later training does not change it."""
        made = Projector(self.first.in_features, self.first.out_features).to(self.first.weight.device)
        made.load_state_dict(self.state_dict())
        return made.eval()


class ProjectedVision(VisionCascade):
    """The cascade of an image tower in front of a projector.

    Args:
        segments: see :class:`VisionCascade`.
        projector: of the tower's features.
    """

    def __init__(self, segments: Sequence[AnySegment], projector: Projector) -> None:
        super().__init__(segments)
        self.projector = projector

    def forward(self, tower: VisionTower, images: Tensor) -> Tensor:
        """Images (batch, 3, resolution, resolution) -> normalised features (batch, wanted), float32."""
        return F.normalize(self.projector(tower(images, self.refresh)), dim=-1)

    @torch.no_grad()
    def fixed(self) -> ProjectedVision:
        tokens: list[AnySegment] = list(super().fixed().segments.values())  # type: ignore[arg-type]
        return ProjectedVision(tokens, self.projector.fixed())
