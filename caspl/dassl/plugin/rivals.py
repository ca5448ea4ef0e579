"""Which towers of a foreign trainer run: if one that is boosted does not, another may in its place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import nn

from caspl.dassl.plugin.loose import find_loose
from caspl.errors import CasPLError
from caspl.hooks.foreign import EXPECTED, ForeignTower, find_towers, unwrapped
from caspl.hooks.insertion import Insertion
from caspl.towers import CLIP


class Rivals:
    """Looks on until the boosted towers have run, or have not.

    Args:
        trainer: a Dassl trainer after ``build_model``.
        insertions: of its boosted towers.
        clip: the student: lists of blocks with its weights are towers too.
    """

    def __init__(self, trainer: Any, insertions: Sequence[Insertion], clip: CLIP) -> None:
        self._name, self._insertions = type(trainer).__name__, list(insertions)
        self._ran: dict[tuple[str, str], str] = {}  # kind and tower -> what names it in self.model, if it is in there
        model = unwrapped(vars(trainer).get("model"))
        held = {id(item): item for item in map(unwrapped, vars(trainer).values()) if isinstance(item, nn.Module)}
        seen = {block for insertion in insertions for block in insertion.hooked}
        self._handles = []
        for root in sorted(held.values(), key=lambda item: item is not model):
            for kind in EXPECTED:
                for tower in (*find_towers(root, kind), *find_loose(root, kind, clip, seen)):
                    blocks = tower.blocks
                    if id(blocks[0]) not in seen:
                        seen |= set(map(id, blocks))
                        told = partial(self._tell, tower, tower.path if root is model else "")
                        self._handles.append(blocks[0].register_forward_pre_hook(told))

    def __deepcopy__(self, memo: Any) -> Rivals:
        return self

    def require_use(self) -> None:
        """Refuse a trainer that has not run a tower: what is not run cannot be boosted, and would go unnoticed.

        Raises:
            CasPLError: after a whole batch, naming the tower and what ran in its place.
        """
        for insertion in self._insertions:
            if not insertion.ran:
                raise CasPLError(
                    f"{self._name} did not run {insertion.name} for its first batch, {self._instead(insertion)}"
                )
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _tell(self, tower: ForeignTower, path: str, *args: Any) -> None:
        self._ran[tower.kind, str(tower)] = path

    def _instead(self, insertion: Insertion) -> str:
        others = {name: path for (kind, name), path in self._ran.items() if kind == insertion.kind}
        hint = next((path for path in others.values() if path), "")
        if hint:
            return (
                f"but {' and '.join(others)}, which does not see the boosting tokens: if that is the one that is "
                f"adapted, say so with caspl.plugin.cascade(..., {insertion.kind}_tower={hint!r})"
            )
        if others:
            return (
                f"but {' and '.join(others)}, which is not in self.model and does not see the boosting tokens: it "
                "cannot be cascaded by hooks"
            )
        return (
            "nor any other tower of a CLIP, but used features that it had made before: they do not see the boosting "
            "tokens, so that it cannot be cascaded by hooks"
        )
