"""Training on labelled and unlabelled images together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engine_toy import ColourNet

from dassl.engine import TrainerXU


class PairTrainer(TrainerXU):
    """Notes which batches meet."""

    def build_data_loader(self) -> None:
        super().build_data_loader()
        self.train_loader_x: Any = [{"img": torch.ones(1) * i, "label": torch.ones(1)} for i in range(2)]
        self.train_loader_u: Any = [{"img": torch.ones(1) * i} for i in range(5)]

    def build_model(self) -> None:
        self.model = ColourNet()
        self.register_model("model", self.model, torch.optim.SGD(self.model.parameters(), lr=0.1))
        self.pairs: list[tuple[float, float]] = []

    def forward_backward(self, batch_x: Any, batch_u: Any) -> dict[str, float]:
        image_x, _, image_u = self.parse_batch_train(batch_x, batch_u)
        self.pairs.append((image_x.item(), image_u.item()))
        return {"loss": 0.0}


@pytest.mark.parametrize(
    ("count_iter", "pairs"),
    [
        ("train_x", [(0, 0), (1, 1)]),
        ("smaller_one", [(0, 0), (1, 1)]),
        ("train_u", [(0, 0), (1, 1), (0, 2), (1, 3), (0, 4)]),
    ],
)
def test_pairs(make_cfg: Any, count_iter: str, pairs: list[tuple[float, float]]) -> None:
    trainer = PairTrainer(make_cfg("TRAIN.COUNT_ITER", count_iter))
    trainer.run_epoch()
    assert trainer.pairs == pairs
    assert trainer.num_batches == len(pairs)


def test_pairs_refuse(make_cfg: Any) -> None:
    trainer = PairTrainer(make_cfg("TRAIN.COUNT_ITER", "both"))
    with pytest.raises(ValueError, match="COUNT_ITER must be one of"):
        trainer.run_epoch()
    trainer.train_loader_u = None
    with pytest.raises(ValueError, match="no train_u"):
        trainer.run_epoch()
