"""A recorder for CPUs that behaves as CUDA graphs do: it keeps operators and memory, and nothing of Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode


class Tape(TorchDispatchMode):
    """Notes every operator with its arguments, and the tensors that it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[Any, Any, Any, Any]] = []
        self.made: set[int] = set()
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "_local_scalar_dense" in str(function):
            raise RuntimeError("operation not permitted when stream is capturing")
        for leaf in pytree.tree_leaves((args, kwargs)):
            place = leaf.untyped_storage().data_ptr() if isinstance(leaf, Tensor) else 0
            if isinstance(leaf, Tensor) and place not in self.made and place not in self.before:
                self.before[place] = leaf, leaf.detach().clone()
        made = function(*args, **(kwargs or {}))
        given = set(self.before)
        self.made |= {
            leaf.untyped_storage().data_ptr() for leaf in pytree.tree_leaves(made) if isinstance(leaf, Tensor)
        } - given
        self.lines.append((function, args, kwargs or {}, made))
        return made

    def undo(self) -> None:
        """Recording alone changes nothing."""
        with torch.no_grad():
            for value, kept in self.before.values():
                value.copy_(kept)

    def repeat(self) -> None:
        """Do it again on the same tensors, and leave the results where they were."""
        with torch.no_grad():
            for function, args, kwargs, made in self.lines:
                given = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
                memory = {leaf.untyped_storage().data_ptr() for leaf in given}
                fresh = pytree.tree_leaves(function(*args, **kwargs))
                for old, new in zip(pytree.tree_leaves(made), fresh, strict=True):
                    # A view of what it was given, or that itself, is up to date.
                    if isinstance(old, Tensor) and old.untyped_storage().data_ptr() not in memory:
                        old.copy_(new)


class TapeRecorder:
    """As :class:`caspl.step.graph.CudaRecorder`.

    Args:
        waits: what warming up says of waiting.
    """

    def __init__(self, waits: str = "") -> None:
        self.waits, self.recorded = waits, 0

    def warm(self, work: Callable[[], Sequence[Tensor]]) -> tuple[Sequence[Tensor], str]:
        return work(), self.waits

    def record(self, work: Callable[[], Sequence[Tensor]]) -> tuple[Sequence[Tensor], Callable[[], None]]:
        self.recorded += 1
        tape = Tape()
        with tape:
            made = work()
        tape.undo()
        for value in made:  # a graph has computed nothing yet
            value.detach().fill_(float("nan"))
        return made, tape.repeat

    def release(self) -> None:
        """Nothing to give back."""

    def random_state(self) -> Tensor:
        return torch.get_rng_state()

    def set_random_state(self, state: Tensor) -> None:
        torch.set_rng_state(state)
