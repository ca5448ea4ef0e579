"""Class features that another model gives: the student's text tower has no part in them (PromptKD)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from caspl.errors import CasPLError
from caspl.prompts.text import TextCascade
from caspl.towers.text import TextTower


class GivenTexts(nn.Module):
    """To a model it is a text cascade; nothing in it learns, and nothing of it is saved.

    Args:
        encode: class names -> normalised features (classes, width), float32, on the model's device.
    """

    names = ("class",)
    conditional = False
    samples = 0
    features: Tensor

    def __init__(self, encode: Callable[[Sequence[str]], Tensor]) -> None:
        super().__init__()
        self.encode = encode
        self.segments = nn.ModuleDict()
        self.classnames: list[str] = []

    def set_classes(self, classnames: Sequence[str], tower: TextTower) -> None:
        """Ask for the features of these classes (underscores are read as spaces).

        Raises:
            CasPLError: there are no names.
        """
        if not classnames:
            raise CasPLError("there are no class names")
        self.classnames = [name.replace("_", " ") for name in classnames]
        self.register_buffer("features", self.encode(self.classnames), persistent=False)

    def again(self) -> GivenTexts:
        """See :meth:`TextCascade.again`."""
        return GivenTexts(self.encode)

    def only(self, names: Sequence[str]) -> TextCascade:
        """See :meth:`TextCascade.only`: there are no segments."""
        return TextCascade()

    def forward(
        self, tower: TextTower, condition: Tensor | None = None, budget: int = 0, chosen: Tensor | None = None
    ) -> Tensor:
        """Features (classes, width), see :meth:`TextCascade.forward`."""
        return self.features if chosen is None else self.features.index_select(0, chosen)
