"""The published end-to-end runs: the same losses on the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_toy import GOLDEN_LOSSES
from PIL import Image

STREAM = ["DATALOADER.SEEDED", False]
VARIANTS: dict[str, list[Any]] = {
    "plain": STREAM,
    "best_val": [*STREAM, "TEST.FINAL_MODEL", "best_val"],
    "workers": [*STREAM, "DATALOADER.NUM_WORKERS", 2],
    "warmup": [*STREAM, "OPTIM.WARMUP_EPOCH", 1, "OPTIM.WARMUP_TYPE", "constant"],
}


@pytest.mark.parametrize(("name", "total"), [("train_0", 977970), ("train_3", 496259), ("test_11", 485531)])
def test_toy_images_are_the_published_ones(images: Any, name: str, total: int) -> None:
    assert int(np.asarray(Image.open(images / f"{name}.png"), dtype=np.int64).sum()) == total


@pytest.mark.parametrize("variant", VARIANTS)
def test_losses(make_trainer: Any, variant: str) -> None:
    trainer = make_trainer(*VARIANTS[variant])
    trainer.train()
    expected = [float(loss) for loss in GOLDEN_LOSSES[variant].split()]
    assert trainer.losses == pytest.approx(expected, abs=1e-3)


def test_accuracy_and_rates(make_trainer: Any) -> None:
    trainer = make_trainer(*STREAM)
    trainer.train()
    assert trainer.test() == pytest.approx(25.0)
    assert trainer.rates == pytest.approx([2e-3] * 5 + [1.5e-3] * 5 + [5e-4] * 5, abs=1e-12)
