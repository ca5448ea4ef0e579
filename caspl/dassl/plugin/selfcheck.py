"""At the first batch: whether the boosting tokens take part in what a foreign trainer computes, and where they should.

In eval mode, and leaving no trace in the model: every token of every layer has a gradient that is not zero; without the
tokens the logits are others; with the tokens of the image elsewhere among the patches they are the same.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from caspl.dassl.plugin.kept import Kept
from caspl.errors import CasPLError
from caspl.hooks.insertion import Insertion

logger = logging.getLogger(__name__)


def check(
    name: str, model: nn.Module, insertions: Sequence[Insertion], kept: Sequence[Kept], infer: Callable[[], Any]
) -> None:
    """Check a trainer's model.

    Args:
        name: of the trainer.
        model: whose modules and attributes are put back as they were.
        insertions: of the boosting tokens.
        kept: text features that were replaced.
        infer: the logits of a batch, as in evaluation.

    Raises:
        CasPLError: if the tokens do not take part as they should, naming the tower and what went wrong.
    """
    with _untouched(model, [insertion.segment.values for insertion in insertions]):
        model.eval()
        try:
            logits = _compute(infer)
        except CasPLError:
            raise
        except Exception as error:  # whatever a stranger's evaluation needs that is not there yet
            logger.warning("self-check: not done, %s cannot evaluate before it trains (%s)", name, error)
            return
        said, unchecked = [], []
        for insertion in insertions:
            if not insertion.ran:
                unchecked.append(f"{insertion.name}, which did not run")
                continue
            said += _reach(name, insertion, logits)
            _require_change(name, insertion, infer, logits.detach())
            if insertion.kind == "image":
                _require_no_place(name, insertion, infer, logits.detach())
        for item in kept:
            if not _changes(item, infer, logits.detach()):
                logger.warning("self-check: %s is boosted, but the logits do not depend on it", item.name)
                unchecked.append(f"{item.name}, on which the logits do not depend")
    more = "".join(f"; {words}" for words in dict.fromkeys(said))
    if unchecked:
        logger.warning("self-check: not checked: %s%s", ", ".join(unchecked), more)
    else:
        logger.info("self-check: passed%s", more)


def _compute(infer: Callable[[], Any]) -> Tensor:
    """All numbers that are inferred, with gradients if the trainer lets them through."""
    with torch.enable_grad():
        found = infer()
    parts = found if isinstance(found, list | tuple) else [found]
    tensors = [part for part in parts if isinstance(part, Tensor) and part.is_floating_point()]
    if not tensors:
        raise ValueError("it infers no tensor of logits")
    return tensors[0].float()


def _reach(name: str, insertion: Insertion, logits: Tensor) -> list[str]:
    """Require a gradient on each token of each layer; say if there are no gradients at all to look at."""
    values = insertion.segment.values
    if not logits.requires_grad:
        return ["gradients are not let through in evaluation"]
    # Signs without a pattern: a plain sum may be one that a softmax keeps.
    signs = torch.randint(0, 2, logits.shape, generator=torch.Generator().manual_seed(0)).to(logits) * 2 - 1
    with torch.enable_grad():
        total = (logits * signs).sum()
    (found,) = torch.autograd.grad(total, values, retain_graph=True, allow_unused=True)
    if found is None:
        return ["gradients are not let through in evaluation"]
    missing = (found.abs().amax(dim=-1) == 0).nonzero().tolist()
    if missing:
        layer, token = missing[0]
        raise CasPLError(
            f"self-check: boosting token {token} of layer {layer} does not reach the logits of {name} through "
            f"{insertion.name} ({len(missing)} of {found.shape[0] * found.shape[1]} tokens do not): the code base "
            "drops it, so that this tower cannot be cascaded by hooks"
        )
    return []


@torch.no_grad()
def _require_change(name: str, insertion: Insertion, infer: Callable[[], Any], logits: Tensor) -> None:
    values = insertion.segment.values
    before = values.detach().clone()
    values.data.zero_()
    try:
        with torch.random.fork_rng():
            found = _compute(infer).detach()
    finally:
        values.data.copy_(before)
    if torch.equal(found, logits):
        raise CasPLError(
            f"self-check: the logits of {name} are the same with and without the boosting tokens of {insertion.name}: "
            "it evaluates on something that does not run through this tower, so that it cannot be cascaded by hooks"
        )


@torch.no_grad()
def _require_no_place(name: str, insertion: Insertion, infer: Callable[[], Any], logits: Tensor) -> None:
    start = insertion.start
    assert start is not None
    insertion.start = start - max(1, start // 3)
    try:
        found = _compute(infer).detach()
    finally:
        insertion.start = start
    precision = torch.finfo(torch.bfloat16 if insertion.half else torch.float32).eps
    if not (found - logits).abs().max() <= precision**0.5 * logits.abs().max().clamp(min=1):
        raise CasPLError(
            f"self-check: the logits of {name} depend on the place of the boosting tokens among the patches of "
            f"{insertion.name}: its code counts patches by number, so that this tower cannot be cascaded by hooks"
        )


@torch.no_grad()
def _changes(kept: Kept, infer: Callable[[], Any], logits: Tensor) -> bool:
    owner, place = kept.places[0]
    now = getattr(owner, place)
    before = now.detach().clone()
    now.data.copy_(kept.value.detach().flip(-1) if not kept.learned else before.flip(-1))
    try:
        found = _compute(infer).detach()
    finally:
        now.data.copy_(before)
    return not torch.equal(found, logits)


@contextmanager
def _untouched(model: nn.Module, tokens: Sequence[Tensor]) -> Iterator[None]:
    """Put everything back: attributes (what is kept in evaluation), buffers, modes, and all random states."""
    modules = list(model.modules())
    attributes = [{key: _copied(value) for key, value in vars(module).items()} for module in modules]
    buffers = [{key: (value, value.clone()) for key, value in m._buffers.items() if value is not None} for m in modules]
    states = random.getstate(), np.random.get_state()
    learned = [value.requires_grad for value in tokens]
    try:
        with torch.random.fork_rng():
            for value in tokens:
                value.requires_grad_(True)
            yield
    finally:
        for value, flag in zip(tokens, learned, strict=True):
            value.requires_grad_(flag)
        for module, kept, held in zip(modules, attributes, buffers, strict=True):
            vars(module).clear()
            vars(module).update(kept)
            for value, before in held.values():
                if not torch.equal(value, before):
                    value.data.copy_(before)
        random.setstate(states[0])
        np.random.set_state(states[1])


def _copied(value: Any) -> Any:
    """Containers one level deep; what is in them stays itself."""
    return value.copy() if type(value) in (dict, list, set) else value
