"""Where the class name begins in the texts of one call: several texts may run through one tower.

The token ids that are passed to the tower, or to its token embedding, decide. Where none are passed, the one place of
the texts that the model holds does, if it is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from caspl.dassl.plugin.names import find_start, require_room
from caspl.errors import CasPLError
from caspl.hooks.beside import each_tensor
from caspl.hooks.foreign import ForeignTower
from caspl.hooks.insertion import Insertion


class Calls:
    """Reads the ids of each call, and tells an insertion.

    Args:
        model: that holds the texts.
        known: token ids of the classes that it holds, each (classes, positions).
        classnames: one a row.
        insertion: of its text tower.
        positions: of the text tower.
    """

    def __init__(
        self, model: nn.Module, known: Sequence[Tensor], classnames: Sequence[str], insertion: Insertion, positions: int
    ) -> None:
        self._names, self._insertion, self._positions = list(classnames), insertion, positions
        self._model = [model]  # in a list: no part of what is copied with the hooks' owner
        self._rows: dict[tuple[int, ...], int] = {}
        for ids in known:
            self._remember(ids, find_start(model, [ids], classnames))
        self._last: tuple[Tensor, int, int] | None = None

    def watch(self, tower: ForeignTower) -> None:
        """Look at what is passed to a tower, or to its embedding of tokens."""
        for module in {id(module): module for module in tower.listeners}.values():
            module.register_forward_pre_hook(partial(self._look), with_kwargs=True)

    def __deepcopy__(self, memo: Any) -> Calls:
        return self

    def _look(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        found: list[Tensor] = []

        def see(value: Tensor) -> Tensor:
            if value.dtype in (torch.int32, torch.int64) and value.dim() >= 2 and value.shape[-1] == self._positions:
                found.append(value)
            return value

        each_tensor((args, kwargs), see)
        if found:
            self._insertion.begin(self._start(found[0]))

    def _start(self, ids: Tensor) -> int:
        last = self._last
        if last is not None and last[0] is ids and last[1] == ids._version:
            return last[2]
        rows = ids.detach().cpu().reshape(-1, self._positions)
        places = {self._rows.get(tuple(row)) for row in rows.tolist()}
        if None in places:
            places = {self._read(rows)}
        if len(places) > 1:
            raise CasPLError(
                f"{self._insertion.name} gets texts in one call in which the class name begins at positions "
                f"{' and '.join(map(str, sorted(place for place in places if place is not None)))}: boosting tokens go "
                "directly before it, at one place a call; leave the text plain with text=False"
            )
        start = places.pop()
        assert start is not None
        self._last = (ids, ids._version, start)
        return start

    def _read(self, rows: Tensor) -> int:
        """The place in texts that the model does not hold: of all classes, once or several times over."""
        times, rest = divmod(len(rows), len(self._names))
        names = [] if rest else [self._names * times, [name for name in self._names for _ in range(times)]]
        for each in names:
            try:
                start = find_start(self._model[0], [rows], each)
            except CasPLError:
                continue
            require_room(rows, each, self._insertion.segment.length)
            self._remember(rows, start)
            return start
        raise CasPLError(
            f"{self._insertion.name} gets {len(rows)} texts in which the {len(self._names)} class names are not found "
            "at one place, so that the place of the boosting tokens is unknown: give it with "
            "caspl.plugin.cascade(..., class_start=5), counted from the start token, if it holds for all its texts, or "
            "leave the text plain with text=False"
        )

    def _remember(self, ids: Tensor, start: int) -> None:
        self._rows.update(dict.fromkeys(map(tuple, ids.tolist()), start))
