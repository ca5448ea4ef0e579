"""Several texts a class: averaged (CLIP, arXiv 2103.00020, section 3.1.4), or several sets kept apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.prompts.given import GivenTexts
from caspl.prompts.segment import by_name
from caspl.prompts.text import TextCascade
from caspl.towers.text import TextTower


class _Several(nn.Module):
    """What averaged texts and sets of texts have in common: to a model they are one cascade."""

    names: tuple[str, ...] = ("class",)

    def __init__(self, parts: Iterable[TextCascade | _Several]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        # Each has segments of its own, or shares them: all are trained, saved and found.
        self.segments = nn.ModuleDict(by_name(segment for part in self._texts() for segment in part.segments.values()))  # type: ignore[misc]

    @property
    def conditional(self) -> bool:
        """Whether the tokens depend on the image."""
        return any(part.conditional for part in self._texts())

    @property
    def samples(self) -> int:
        """See :attr:`TextCascade.samples`."""
        return max(part.samples for part in self._texts())

    @property
    def classnames(self) -> list[str]:
        """Names of the classes, as read."""
        return self._texts()[0].classnames

    def set_classes(self, classnames: Sequence[str], tower: TextTower) -> None:
        """See :meth:`TextCascade.set_classes`."""
        for part in self._texts():
            part.set_classes(classnames, tower)

    def only(self, names: Sequence[str]) -> TextCascade:
        """The first text's segments (shared, not copied) cut to those named, without words."""
        return self._texts()[0].only(names)

    def _features(self, tower: TextTower, condition: Tensor | None, budget: int, chosen: Tensor | None) -> list[Tensor]:
        """Normalised features of every part; those that no image changes are repeated for all images."""
        budget = -(-budget // len(self.parts))  # all of them are kept until the backward pass
        parts = [(part, condition if part.conditional else None) for part in self._texts()]
        features = [F.normalize(part(tower, given, budget, chosen).float(), dim=-1) for part, given in parts]
        return list(torch.broadcast_tensors(*features))

    def _texts(self) -> list[TextCascade]:
        return list(self.parts)  # type: ignore[arg-type]


class TextEnsemble(_Several):
    """Text cascades whose normalised features are averaged.

    Args:
        texts: at least one; segments of one name are the same in all.
    """

    def __init__(self, texts: Sequence[TextCascade]) -> None:
        super().__init__(texts)

    def again(self) -> TextEnsemble:
        """See :meth:`TextCascade.again`."""
        return TextEnsemble([part.again() for part in self._texts()])

    def forward(
        self, tower: TextTower, condition: Tensor | None = None, budget: int = 0, chosen: Tensor | None = None
    ) -> Tensor:
        """Mean of the normalised features, ([groups,] classes, embed_dim), itself not normalised."""
        return torch.stack(self._features(tower, condition, budget, chosen)).mean(0)


class TextSets(_Several):
    """Sets of texts that are kept apart, e.g. of what a class is and of what it is not.

    Args:
        sets: name -> its texts; the first are those by which images are classified.
    """

    def __init__(self, sets: Mapping[str, TextCascade | TextEnsemble]) -> None:
        super().__init__(sets.values())
        self.names = tuple(sets)

    def again(self) -> TextSets:
        """See :meth:`TextCascade.again`."""
        return TextSets({name: part.again() for name, part in zip(self.names, self.parts, strict=True)})  # type: ignore[operator]

    def forward(
        self, tower: TextTower, condition: Tensor | None = None, budget: int = 0, chosen: Tensor | None = None
    ) -> Tensor:
        """Normalised features, ([groups,] sets, classes, embed_dim)."""
        return torch.stack(self._features(tower, condition, budget, chosen), dim=-3)


AnyTexts = TextCascade | TextEnsemble | TextSets | GivenTexts
"""What a model asks for the features of its classes."""
