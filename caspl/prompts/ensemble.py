"""Several texts a class: their normalised features are averaged (CLIP, arXiv 2103.00020, section 3.1.4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.prompts.text import TextCascade
from caspl.towers.text import TextTower


class TextEnsemble(nn.Module):
    """Text cascades of the same segments in different words. To a model it is one cascade.

    Args:
        members: at least one.
    """

    def __init__(self, members: Sequence[TextCascade]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.segments = members[0].segments
        self.conditional = members[0].conditional

    @property
    def classnames(self) -> list[str]:
        """Names of the classes, as read."""
        return self._cascades()[0].classnames

    def set_classes(self, classnames: Sequence[str], tower: TextTower) -> None:
        """See :meth:`TextCascade.set_classes`."""
        for member in self._cascades():
            member.set_classes(classnames, tower)

    def forward(self, tower: TextTower, condition: Tensor | None = None) -> Tensor:
        """Mean of the members' normalised features, (classes, embed_dim), itself not normalised."""
        features = [F.normalize(member(tower, condition).float(), dim=-1) for member in self._cascades()]
        return torch.stack(features).mean(0)

    def only(self, names: Sequence[str]) -> TextCascade:
        """The same segments (shared, not copied) cut to those named, without words; classes must be set anew."""
        return self._cascades()[0].only(names)

    def _cascades(self) -> list[TextCascade]:
        return list(self.members)  # type: ignore[arg-type]
