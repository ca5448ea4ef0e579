"""A stand-in wrapped by the plug-in, and our own ``CasPL_<X>``, of the same weights, tokens, images and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from yacs.config import CfgNode

from caspl.dassl.plugin.cascade import Hints, cascaded
from tests.no_data import without_data
from tests.parity.published import learnable, target
from tests.plugin.clip import Style
from tests.stubs import make_trainer


def styled(trainer: Any, style: Style) -> Any:
    """The trainer on another kind of fork."""
    return type(trainer.__name__, (trainer,), {"style": replace(style)})


def foreign(trainer: Any, cfg: CfgNode, classnames: Sequence[str], boosted: bool = True, **hints: Any) -> Any:
    """An instance of a stand-in over class names, without data."""
    made = cascaded(trainer, Hints(**hints)) if boosted else trainer
    return without_data(made, classnames)(cfg)


def ours(cfg: CfgNode, classnames: Sequence[str]) -> Any:
    """Our own trainer of the same config, prepared."""
    trainer = make_trainer(cfg, classnames)
    if trainer.segments.learned():
        trainer.start()
    return trainer


def same_tokens(theirs: Any, mine: Any, factor: float = 1.0) -> None:
    """Give both trainers the same tokens: ours, times a factor that makes every term matter."""
    learned = {name: value.data for name, value in mine.segments.learned().items() if "boosting" not in name}
    for value in learned.values():
        value *= factor
    count = 0
    for name, value in learnable(theirs).items():
        value.data.copy_(target(name, learned))
        count += value.numel()
    assert count == sum(value.numel() for value in learned.values())


def logits(trainer: Any, images: Tensor) -> Tensor:
    """In evaluation."""
    trainer.set_model_mode("eval")
    with torch.no_grad():
        return trainer.model_inference(images).float()


def train(trainer: Any, batch: Callable[[int, int], dict[str, Tensor]], epochs: int, batches: int) -> list[float]:
    """The losses of every batch."""
    losses = []
    trainer.max_epoch, trainer.num_batches = epochs, batches
    trainer.set_model_mode("train")
    for trainer.epoch in range(epochs):
        for trainer.batch_idx in range(batches):
            losses.append(float(trainer.forward_backward(batch(trainer.epoch, trainer.batch_idx))["loss"]))
    return losses
