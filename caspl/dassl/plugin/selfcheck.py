"""At the first batch: whether the boosting tokens take part in what a foreign trainer computes, and where they should.

Leaving no trace in the model: every token of every layer has a gradient that is not zero; without the tokens the
logits are others; with the tokens of the image elsewhere among the patches they are the same; and what was replaced
beside (text features made once, a boosted reference) changes the logits or the loss.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from caspl.dassl.plugin.kept import Kept
from caspl.dassl.plugin.probe import Probe, differ
from caspl.errors import CasPLError
from caspl.hooks.insertion import Insertion

logger = logging.getLogger(__name__)

NO_GRADIENTS = "gradients are not let through in evaluation"


@dataclass
class Boosted:
    """What is boosted in a trainer.

    Args:
        insertions: boosting tokens of the towers that are adapted.
        kept: text features that were replaced.
        reference: boosting tokens of a reference's towers.
        reference_kept: text features of a reference that were replaced.
    """

    insertions: list[Insertion] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    reference: list[Insertion] = field(default_factory=list)
    reference_kept: list[Kept] = field(default_factory=list)


def check(name: str, boosted: Boosted, probe: Probe) -> None:
    """Check a trainer's model.

    Args:
        name: of the trainer.
        boosted: what is boosted in it.
        probe: asks for logits and losses.

    Raises:
        CasPLError: if the tokens do not take part as they should, naming the tower and what went wrong.
    """
    try:
        logits = probe.logits()
    except CasPLError:
        raise
    except Exception as error:  # whatever a stranger's evaluation needs that is not there yet
        logger.warning("self-check: not done, %s cannot evaluate before it trains (%s)", name, error)
        return
    said, unchecked = [], []
    for insertion in boosted.insertions:
        if not insertion.ran:
            unchecked.append(f"{insertion.name}, which did not run")
            continue
        said += _reach(name, insertion, logits)
    logits = [part.detach() for part in logits]
    for insertion in boosted.insertions:
        if insertion.ran:
            _require_change(name, insertion, probe, logits)
            if insertion.kind == "image":
                _require_no_place(name, insertion, probe, logits)
    unchecked += _replaced(boosted, probe, logits)
    more = "".join(f"; {words}" for words in dict.fromkeys(said))
    if unchecked:
        logger.warning("self-check: not checked: %s%s", ", ".join(unchecked), more)
    else:
        logger.info("self-check: passed%s", more)


def _replaced(boosted: Boosted, probe: Probe, logits: Sequence[Tensor]) -> list[str]:
    """Say what was replaced and takes no part; returns it in words."""
    if not (boosted.kept or boosted.reference or boosted.reference_kept):
        return []
    loss = probe.loss()
    idle = []
    for item in boosted.kept:
        with _turned(item):
            if not differ(probe.logits(), logits) and not differ(probe.loss(), loss):
                idle.append(item.name)
    if loss is not None:  # the logits are no business of a reference
        for item in boosted.reference_kept:
            with _turned(item):
                if not differ(probe.loss(), loss):
                    idle.append(item.name)
        for insertion in boosted.reference:
            with _zeroed(insertion):
                if not differ(probe.loss(), loss):
                    idle.append(insertion.name)
    what = "the logits do not" if loss is None else "neither the logits nor the loss"
    for name in idle:
        logger.warning("self-check: %s is boosted, but %s depend on it", name, what)
    return [f"{name}, on which {what} depend" for name in idle]


def _reach(name: str, insertion: Insertion, logits: Sequence[Tensor]) -> list[str]:
    """Require a gradient on each token of each layer; say if there are no gradients at all to look at."""
    values = insertion.segment.values
    parts = [part for part in logits if part.requires_grad]
    if not parts:
        return [NO_GRADIENTS]
    generator = torch.Generator().manual_seed(0)
    with torch.enable_grad():
        total = torch.stack([(part * _signs(part, generator)).sum() for part in parts]).sum()
    (found,) = torch.autograd.grad(total, values, retain_graph=True, allow_unused=True)
    if found is None:
        return [NO_GRADIENTS]
    missing = (found.abs().amax(dim=-1) == 0).nonzero().tolist()
    if missing:
        layer, token = missing[0]
        raise CasPLError(
            f"self-check: boosting token {token} of layer {layer} does not reach the logits of {name} through "
            f"{insertion.name} ({len(missing)} of {found.shape[0] * found.shape[1]} tokens do not): the code base "
            "drops it, so that this tower cannot be cascaded by hooks"
        )
    return []


def _signs(part: Tensor, generator: torch.Generator) -> Tensor:
    """Signs without a pattern: a plain sum may be one that a softmax keeps."""
    return torch.randint(0, 2, part.shape, generator=generator).to(part) * 2 - 1


def _require_change(name: str, insertion: Insertion, probe: Probe, logits: Sequence[Tensor]) -> None:
    with _zeroed(insertion):
        if differ(probe.logits(), logits):
            return
    raise CasPLError(
        f"self-check: the logits of {name} are the same with and without the boosting tokens of {insertion.name}: "
        "it evaluates on something that does not run through this tower, so that it cannot be cascaded by hooks"
    )


@torch.no_grad()
def _require_no_place(name: str, insertion: Insertion, probe: Probe, logits: Sequence[Tensor]) -> None:
    start = insertion.start
    assert start is not None
    insertion.start = start - max(1, start // 3)
    try:
        found = probe.logits()
    finally:
        insertion.start = start
    precision = torch.finfo(torch.bfloat16 if insertion.half else torch.float32).eps
    for part, before in zip(found, logits, strict=True):
        if not (part - before).abs().max() <= precision**0.5 * before.abs().max().clamp(min=1):
            raise CasPLError(
                f"self-check: the logits of {name} depend on the place of the boosting tokens among the patches of "
                f"{insertion.name}: its code counts patches by number, so that this tower cannot be cascaded by hooks"
            )


@contextmanager
def _zeroed(insertion: Insertion) -> Iterator[None]:
    values = insertion.segment.values
    before = values.detach().clone()
    values.data.zero_()
    try:
        yield
    finally:
        values.data.copy_(before)


@contextmanager
def _turned(kept: Kept) -> Iterator[None]:
    """Other features of the same norms in the place of those that are kept."""
    owner, place = kept.places[0]
    now = getattr(owner, place)
    before = now.detach().clone()
    now.data.copy_(before.flip(-1))
    try:
        yield
    finally:
        now.data.copy_(before)
