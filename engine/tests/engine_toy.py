"""The toy data, configuration and trainer of the published golden runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from yacs.config import CfgNode

from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer

SPLITS = {"train": 20, "val": 8, "test": 12}

GOLDEN_LOSSES = {
    "plain": """1.9917 1.4338 1.1392 1.6131 1.5846 1.6053 1.4059 1.5155 1.5734 1.5058
        1.4862 1.4897 1.1399 1.7815 1.5501""",
    "best_val": """1.9917 1.4338 1.1392 1.6131 1.5846 1.0652 2.0081 1.1019 1.4531 1.9788
        1.3774 1.1444 1.0137 2.7185 1.1942""",
    "workers": """1.9927 1.4389 1.1367 1.6187 1.6107 1.1144 1.5141 2.4114 0.9188 1.6197
        1.9060 1.4932 1.1415 1.3750 1.5413""",
    "warmup": """1.9917 1.4362 1.1414 1.6239 1.6010 1.6306 1.4317 1.5367 1.5924 1.5212
        1.4982 1.4951 1.1340 1.7775 1.5332""",
}


def write_images(root: Path) -> Path:
    """Write the images of the golden runs."""
    rng = np.random.RandomState(0)
    for split, count in SPLITS.items():
        for i in range(count):
            pixels = rng.randint(0, 256, (40, 48, 3)).astype(np.uint8)
            if i % 4 < 3:
                pixels[..., i % 4] = 255
            else:
                pixels[..., 0] = 0
            Image.fromarray(pixels).save(root / f"{split}_{i}.png")
    return root


@DATASET_REGISTRY.register()
class ToyData(DatasetBase):
    def __init__(self, cfg: CfgNode) -> None:
        def items(split: str) -> list[Datum]:
            root = Path(cfg.DATASET.ROOT)
            count = SPLITS[split]
            return [
                Datum(impath=str(root / f"{split}_{i}.png"), label=i % 4, classname=f"c{i % 4}") for i in range(count)
            ]

        super().__init__(train_x=items("train"), val=items("val"), test=items("test"))


class ColourNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.fc(image.mean(dim=(2, 3)))


@TRAINER_REGISTRY.register()
class ToyTrainer(TrainerX):
    """In the shape of the trainers of the field."""

    def build_model(self) -> None:
        self.model = ColourNet().to(self.device)
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("prompt_learner", self.model, self.optim, self.sched)
        self.losses: list[float] = []
        self.rates: list[float] = []

    def forward_backward(self, batch: Any) -> dict[str, float]:
        image, label = self.parse_batch_train(batch)
        self.rates.append(self.get_current_lr())
        output = self.model(image)
        loss = F.cross_entropy(output, label)
        self.model_backward_and_update(loss)
        self.losses.append(loss.item())
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss": loss.item(), "acc": compute_accuracy(output, label)[0].item()}

    def parse_batch_train(self, batch: Any) -> Any:
        return batch["img"].to(self.device), batch["label"].to(self.device)


@TRAINER_REGISTRY.register()
class RollingTrainer(ToyTrainer):
    rolling_resume = True


def toy_cfg(root: Path, output: Path, *opts: Any) -> CfgNode:
    """Return the configuration of the golden runs; ``opts`` are KEY, VALUE pairs on top."""
    cfg = get_cfg_default()
    cfg.DATASET.NAME = "ToyData"
    cfg.DATASET.ROOT = str(root)
    cfg.OUTPUT_DIR = str(output)
    cfg.TRAINER.NAME = "ToyTrainer"
    cfg.USE_CUDA = False
    cfg.SEED = 1
    cfg.INPUT.SIZE = (32, 32)
    cfg.INPUT.TRANSFORMS = ("random_resized_crop", "random_flip", "normalize")
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.TRAIN_X.BATCH_SIZE = 4
    cfg.OPTIM.NAME = "sgd"
    cfg.OPTIM.LR = 0.002
    cfg.OPTIM.LR_SCHEDULER = "cosine"
    cfg.OPTIM.MAX_EPOCH = 3
    cfg.merge_from_list([*opts])
    return cfg


def same(a: Any, b: Any) -> bool:
    """Return whether two nests of tensors and plain values are equal, bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)
