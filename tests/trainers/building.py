"""Trainers of the matrix's rows without files, and batches for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dassl.engine import TRAINER_REGISTRY
from tests.cases import Case
from tests.conftest import CLASSES, boosting_file
from tests.stubs import make_cfg, make_trainer
from tests.tiny_clip import SIZES


def build(case: Case, boosted: bool, clips: dict[str, str], folder: Path, precision: str = "fp32", **more: Any) -> Any:
    """The trainer of a row, ready for single steps; settings are written with ``__`` for the dots."""
    name = ("CasPL_" if boosted else "") + case.trainer
    section = TRAINER_REGISTRY.get(name).section
    settings = {f"TRAINER__{section}__{key}": value for key, value in (case.options | {"PREC": precision}).items()}
    settings |= case.more
    settings |= {key: clips[value] for key, value in settings.items() if key.endswith("__TEACHER") and value in clips}
    settings |= {"DATASET__NAME": "EuroSAT", "OUTPUT_DIR": str(folder / "run"), "OPTIM__LR": 0.01}
    settings |= {"OPTIM__MAX_EPOCH": 1, "OPTIM__WARMUP_EPOCH": -1}
    settings["TRAINER__FDBPL__TEACHER"] = clips["teacher"]
    if boosted:
        settings["TRAINER__CASPL__BOOSTING"] = str(boosting_file(folder / "boosting.safetensors"))
    torch.manual_seed(3)
    cfg = make_cfg(name, clips["student"], SIZES.resolution, **(settings | more))
    trainer = make_trainer(cfg, CLASSES, (*CLASSES, "Glacier", "A wide desert"))
    if trainer.segments.learned():
        trainer.start()
    trainer.num_batches, trainer.batch_idx = 2, 0
    return trainer


def batch(seed: int = 0, count: int = 4) -> dict[str, Tensor]:
    """Random images and labels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, SIZES.resolution, SIZES.resolution, generator=generator)
    return {"img": images, "label": torch.randint(len(CLASSES), (count,), generator=generator)}


def logits(trainer: Any) -> Tensor:
    """Of a fixed batch, in evaluation."""
    trainer.set_model_mode("eval")
    with torch.no_grad():
        return trainer.model_inference(batch(9)["img"].to(trainer.device)).cpu()
