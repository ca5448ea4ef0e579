"""What a forward pass keeps for the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks


def kept(run: Callable[[], object], weights: Iterable[Tensor]) -> int:
    """Bytes that a forward pass keeps, weights aside; each storage once.

    Args:
        run: the pass. What it gives is held until it is counted.
        weights: of the model.
    """
    aside = {value.untyped_storage().data_ptr() for value in weights}
    found: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in aside:
            found[storage.data_ptr()] = storage.nbytes()
        return value

    with saved_tensors_hooks(keep, lambda value: value):
        held = run()
    del held
    return sum(found.values())
