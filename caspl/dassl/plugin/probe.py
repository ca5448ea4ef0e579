"""A foreign trainer asked for its logits and its loss, with the same random numbers each time, and without a trace."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from caspl.errors import CasPLError


class _FirstLoss(BaseException):
    """Thrown out of a training step where it would begin to change something. No ``except Exception`` catches it."""

    def __init__(self, loss: Tensor) -> None:
        super().__init__()
        self.loss = loss.detach().float().reshape(-1)


class Probe:
    """Asks.

    Args:
        owner: the trainer, whose own attributes are put back too.
        modules: all that it runs, with their parts.
        infer: a batch as in evaluation.
        step: a training step on a batch; None where nothing trains.
    """

    def __init__(
        self,
        owner: object,
        modules: Sequence[nn.Module],
        infer: Callable[[], Any],
        step: Callable[[], Any] | None = None,
    ) -> None:
        self._owner, self._modules, self._infer, self._step = owner, modules, infer, step

    def logits(self) -> list[Tensor]:
        """All numbers that are inferred in eval mode, with gradients if the trainer lets them through."""
        with _untouched(self._owner, self._modules), alike(), torch.enable_grad():
            for module in self._modules:
                module.training = False
            found = self._infer()
        parts = found if isinstance(found, list | tuple) else [found]
        tensors = [part.float() for part in parts if isinstance(part, Tensor) and part.is_floating_point()]
        if not any(part.dim() for part in tensors):
            raise ValueError("it infers no tensor of logits")
        return tensors

    def loss(self) -> Tensor | None:
        """What a training step would begin to differentiate, (1,) or more; None if that is not found out.

        Raises:
            CasPLError: as the step does.
        """
        if self._step is None:
            return None
        backward = torch.autograd.backward

        def stop(tensors: Any, *args: Any, **kwargs: Any) -> None:
            first = tensors if isinstance(tensors, Tensor) else tensors[0]
            raise _FirstLoss(first)

        torch.autograd.backward = stop  # Tensor.backward calls it too
        try:
            with _untouched(self._owner, self._modules), alike(), torch.enable_grad():
                self._step()
        except _FirstLoss as first:
            return first.loss
        except CasPLError:
            raise
        except Exception:  # whatever a stranger's step needs that is not there: then nothing is said of its loss
            return None
        finally:
            torch.autograd.backward = backward
        return None


def differ(found: Sequence[Tensor] | Tensor | None, others: Sequence[Tensor] | Tensor | None) -> bool:
    """Whether two answers of a probe are not the same numbers."""
    if found is None or others is None:
        return False
    pairs = zip(_parts(found), _parts(others), strict=True)
    return any(one.shape != other.shape or not torch.equal(one, other) for one, other in pairs)


def _parts(answer: Sequence[Tensor] | Tensor) -> Sequence[Tensor]:
    return [answer] if isinstance(answer, Tensor) else answer


@contextmanager
def alike() -> Iterator[None]:
    """The same random numbers each time, of torch, numpy and Python; those outside stay what they were."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            random.seed(0)
            np.random.seed(0)
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@contextmanager
def _untouched(owner: object, modules: Sequence[nn.Module]) -> Iterator[None]:
    """Put everything back: attributes (what is kept from one call to the next), what trains, buffers and modes."""
    held = [owner, *modules]
    attributes = [{key: _copied(value) for key, value in vars(item).items()} for item in held]
    tensors = {id(value): value for module in modules for value in module._buffers.values() if value is not None}
    tensors |= {id(value): value for module in modules for value in module.parameters(False) if value.requires_grad}
    kept = [(value, value.detach().clone()) for value in tensors.values()]
    try:
        yield
    finally:
        for item, before in zip(held, attributes, strict=True):
            vars(item).clear()
            vars(item).update(before)
        for value, earlier in kept:
            if not torch.equal(value, earlier):
                value.data.copy_(earlier)


@contextmanager
def with_gradients(tokens: Sequence[Tensor]) -> Iterator[None]:
    """Boosting tokens have gradients, meanwhile."""
    learned = [value.requires_grad for value in tokens]
    try:
        for value in tokens:
            value.requires_grad_(True)
        yield
    finally:
        for value, flag in zip(tokens, learned, strict=True):
            value.requires_grad_(flag)


def _copied(value: Any) -> Any:
    """Containers one level deep; what is in them stays itself."""
    return value.copy() if type(value) in (dict, list, set) else value
