"""Class features that another model gives: the student's text tower has no part in them (PromptKD)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from caspl.errors import CasPLError
from caspl.prompts.text import TextCascade
from caspl.towers.text import TextTower


class GivenTexts(nn.Module):
    """To a model it is a text cascade; nothing in it learns.

    Args:
        known: names of the classes whose features are there (underscores are read as spaces).
        given: their normalised features (known, width), float32, on the model's device.
        encode: other class names -> features (classes, width); None where that model is not at hand.
    """

    names = ("class",)
    conditional = False
    samples = 0
    features: Tensor
    given: Tensor

    def __init__(
        self, known: Sequence[str], given: Tensor, encode: Callable[[Sequence[str]], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.known, self.encode = [name.replace("_", " ") for name in known], encode
        self.register_buffer("given", given, persistent=False)
        self.segments = nn.ModuleDict()
        self.classnames: list[str] = []

    def set_classes(self, classnames: Sequence[str], tower: TextTower) -> None:
        """Take, or ask for, the features of these classes (underscores are read as spaces).

        Raises:
            CasPLError: there are no names, or names that are not known and nobody to ask.
        """
        if not classnames:
            raise CasPLError("there are no class names")
        names = [name.replace("_", " ") for name in classnames]
        self.register_buffer("features", self._of(names), persistent=False)
        self.classnames = names

    def again(self) -> GivenTexts:
        """See :meth:`TextCascade.again`."""
        return GivenTexts(self.known, self.given, self.encode)

    def only(self, names: Sequence[str]) -> TextCascade:
        """See :meth:`TextCascade.only`: there are no segments."""
        return TextCascade()

    def forward(
        self, tower: TextTower, condition: Tensor | None = None, budget: int = 0, chosen: Tensor | None = None
    ) -> Tensor:
        """Features (classes, width), see :meth:`TextCascade.forward`."""
        return self.features if chosen is None else self.features.index_select(0, chosen)

    def _of(self, names: Sequence[str]) -> Tensor:
        places = {name: place for place, name in enumerate(self.known)}
        unknown = [name for name in names if name not in places]
        if not unknown:
            return self.given[[places[name] for name in names]]
        if self.encode is None:
            raise CasPLError(
                f"the features of {unknown[0]!r} are not to be had: a teacher, which is not here, gave those of "
                f"{len(places)} classes ({', '.join(self.known[:3])}, ...); for others evaluate the run with train.py "
                "--eval-only and its teacher"
            )
        return self.encode(names)
