"""Find the towers of a CLIP that somebody else built, whatever its classes: its attributes have OpenAI's names.

    image tower   class_embedding, positional_embedding, ln_pre, transformer.resblocks
    text tower    positional_embedding, ln_final, transformer.resblocks  (the CLIP itself, or a text encoder around it)

These names are what all forks share, since OpenAI's weights are loaded into them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from caspl.errors import CasPLError

EXPECTED = {
    "image": "class_embedding, positional_embedding and transformer.resblocks",
    "text": "ln_final, positional_embedding and transformer.resblocks",
}
USUAL_NAMES = {"image": ("image_encoder", "visual"), "text": ("text_encoder",)}


@dataclass(frozen=True, eq=False)
class ForeignTower:
    """A tower of a foreign CLIP.

    Args:
        kind: ``image`` or ``text``.
        name: where it stands in the model, e.g. ``image_encoder``.
        module: the tower.
    """

    kind: str
    name: str
    module: nn.Module

    @property
    def blocks(self) -> list[nn.Module]:
        """Its residual attention blocks, first to last."""
        return list(self.module.transformer.resblocks)  # type: ignore[union-attr, arg-type]

    @property
    def positional_embedding(self) -> Tensor:
        """(positions, width)."""
        return self.module.positional_embedding  # type: ignore[return-value]

    @property
    def norm(self) -> Any:
        """What the tower puts its tokens through before its blocks; None if nothing."""
        return getattr(self.module, "ln_pre", None)

    @property
    def listeners(self) -> list[nn.Module]:
        """What token ids may be passed to."""
        return [self.module, getattr(self.module, "token_embedding", self.module)]

    @property
    def path(self) -> str:
        """What names it in its model."""
        return self.name

    def weights(self) -> dict[str, Tensor]:
        """Its tensors under OpenAI's names, whatever the fork has added among them."""
        prefix = "visual." if self.kind == "image" else ""
        return {prefix + key: value for key, value in self.module.state_dict().items()}

    def __str__(self) -> str:
        return f"the {self.kind} tower {self.name or 'itself'} ({type(self.module).__name__})"


def unwrapped(item: Any) -> Any:
    """What is inside ``DataParallel``; anything else itself."""
    return item.module if isinstance(item, nn.DataParallel) else item


def find_towers(model: nn.Module, kind: str) -> list[ForeignTower]:
    """All towers of a kind, the outermost first; two modules around the same blocks count once."""
    found: dict[int, ForeignTower] = {}
    by_depth = sorted(model.named_modules(), key=lambda item: item[0].count(".") + bool(item[0]))
    for name, module in by_depth:
        if _kind(module) == kind:
            found.setdefault(id(module.transformer), ForeignTower(kind, name, module))
    return list(found.values())


def every_path(model: nn.Module, kind: str) -> list[ForeignTower]:
    """All towers of a kind, one for each name under which it stands in the model."""
    named = model.named_modules(remove_duplicate=False)
    return [ForeignTower(kind, name, module) for name, module in named if _kind(module) == kind]


def adapted_tower(
    model: nn.Module, kind: str, name: str = "", loose: Callable[[], Sequence[ForeignTower]] = tuple
) -> ForeignTower | None:
    """The tower that is adapted: the outermost one. Deeper ones are references and teachers.

    Args:
        model: of a trainer.
        kind: ``image`` or ``text``.
        name: of the tower, where the outermost one is not meant.
        loose: finds towers without OpenAI's names; asked where no other is found, or where one is named.

    Raises:
        CasPLError: if several stand equally far outside, or if there is none of that name.
    """
    towers = find_towers(model, kind)
    if name:
        known = [*towers, *loose()]
        named = [tower for tower in known if tower.path == name]
        if not named:
            raise CasPLError(
                f"{type(model).__name__}.{name} is no {kind} tower of a CLIP: expected is a module with "
                f"{EXPECTED[kind]}; there are {', '.join(map(str, known)) or 'none'}"
            )
        return named[0]
    towers = towers or list(loose())
    if not towers:
        return None
    outermost = [tower for tower in towers if tower.name.count(".") == towers[0].name.count(".")]
    usual = [tower for tower in outermost if tower.name in USUAL_NAMES[kind]]
    choice = usual or outermost
    if len(choice) > 1:
        raise CasPLError(
            f"{type(model).__name__} has several {kind} towers, {', '.join(tower.path for tower in choice)}: say which "
            f"of them its forward pass runs with caspl.plugin.cascade(..., {kind}_tower='...')"
        )
    return choice[0]


def _kind(module: nn.Module) -> str:
    transformer = getattr(module, "transformer", None)
    blocks = getattr(transformer, "resblocks", None)
    if not isinstance(blocks, nn.Sequential | nn.ModuleList) or len(blocks) == 0:
        return ""
    if not isinstance(getattr(module, "positional_embedding", None), Tensor):
        return ""
    if hasattr(module, "class_embedding"):
        return "image"
    return "text" if hasattr(module, "ln_final") else ""
