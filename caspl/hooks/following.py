"""Where the boosting tokens stand inside a block that puts in, takes out or moves tokens of its own.

A block of a foreign tower may insert tokens, at the front (MMRL) or at the end (MPL). The first part of it that reads
the sequence, usually its first layer norm, sees the boosting tokens unchanged: there they are looked for, once.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Watch:
    """Looks on, for one pass through a block.

    Args:
        block: that is about to run.
        tokens: the boosting tokens as they go in, in the layout of the sequence.
        axis: along which they lie.
        start: where they go in.
    """

    def __init__(self, block: nn.Module, tokens: Tensor, axis: int, start: int) -> None:
        self.place: int | None = None
        self._tokens = tokens.detach().select(1 - axis, 0)
        self._axis, self._start = axis, start
        parts = [part for part in block.modules() if part is not block]
        self._handles = [part.register_forward_pre_hook(self._look) for part in parts]

    def end(self) -> int | None:
        """Look no longer; where the tokens were, None if they were not seen."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        return self.place

    def _look(self, part: nn.Module, args: tuple[Any, ...]) -> None:
        x = next((item for item in args if isinstance(item, Tensor) and item.dim() == 3), None)
        if x is None or self.place is not None or x.shape[-1] != self._tokens.shape[-1]:
            return
        rows, length = x.detach().select(1 - self._axis, 0), len(self._tokens)
        if len(rows) >= length:
            windows = rows.unfold(0, length, 1).transpose(1, 2)
            places = (windows == self._tokens).flatten(1).all(dim=1).nonzero().flatten().tolist()
            self.place = self._start if self._start in places else next(iter(places), None)
