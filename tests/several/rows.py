"""What is trained alike by one process and by several: every row of the matrix, and phase 1, over images in memory."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from dassl.data.data_manager import build_data_loader
from dassl.data.repeatable import drawing_for
from dassl.engine import TRAINER_REGISTRY
from tests.cases import AGNOSTIC, CASES, GUARDED, Case
from tests.conftest import CLASSES
from tests.stubs import make_cfg, make_trainer
from tests.tiny_clip import SIZES
from tests.trainers.building import build

EPOCHS = 3

FDBPL = tuple(f"TRAINER__FDBPL__{key}" for key in ("PCD", "WEIGHTS"))
SHARED = [
    case
    for case in (*CASES, *GUARDED)
    if not TRAINER_REGISTRY.get(case.trainer).whole_batch
    and case not in AGNOSTIC
    and not case.trainer.startswith("FDBPL_")
]
"""Rows whose batches several processes can share as they are."""


@dataclass(frozen=True)
class Row:
    """A training: ``images`` in batches of ``size``, with ``more`` settings; with ``case`` None phase 1."""

    name: str
    case: Case | None
    boosted: bool = False
    images: int = 13
    size: int = 5
    more: tuple[tuple[str, Any], ...] = ()


def _rows() -> list[Row]:
    names = [
        (case, boosted, ("CasPL_" if boosted else "") + case.trainer) for case in SHARED for boosted in (False, True)
    ]
    coop = next(case for case in CASES if case.trainer == "CoOp")
    apart = tuple(zip(FDBPL, ("released", "image"), strict=True))  # what is a mean over images
    regions = [case for case in CASES if case.trainer.startswith("FDBPL_")]
    return [
        *(Row(name, case, boosted) for case, boosted, name in names),
        *(Row(case.trainer, case, more=apart) for case in regions),
        *(Row(f"CasPL_{case.trainer}", case, True, more=apart) for case in regions),
        Row("CasPL", None),
        Row("one image a batch", coop, images=4, size=1),
        Row("a single batch that is not full", coop, images=3, size=8),
    ]


ROWS = _rows()


class Drawn(Dataset[dict[str, Any]]):
    """Images that are noise of their own, and as much again that is drawn anew each time, as augmentation is."""

    def __init__(self, cfg: Any, data_source: Any, **_: Any) -> None:
        self.items = data_source

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        size = (3, SIZES.resolution, SIZES.resolution)
        own = torch.randn(size, generator=torch.Generator().manual_seed(int(index)))
        with drawing_for(index):
            image = own + torch.randn(size)
        return {"img": image, "label": self.items[index].label, "index": int(index), "impath": str(int(index))}


def trained(row: Row, clips: dict[str, str], folder: Path) -> dict[str, Any]:
    """What comes of three epochs and a test: tokens, means of each epoch's numbers, labels and answers."""
    more = {"INPUT__BACKEND": "tensor", "OPTIM__MAX_EPOCH": EPOCHS, "DATALOADER__NUM_WORKERS": 0}
    trainer = _trainer(row, clips, folder, more)
    items = [SimpleNamespace(label=number % len(CLASSES), impath="") for number in range(max(row.images, 7))]
    loading = {"cfg": trainer.cfg, "dataset_wrapper": Drawn}
    trainer.train_loader_x = build_data_loader(
        sampler_type="RandomSampler", data_source=items[: row.images], batch_size=row.size, **loading
    )
    trainer.test_loader = build_data_loader(data_source=items[:7], batch_size=2, is_train=False, **loading)
    trainer.train()
    history = Path(trainer.output_dir) / "history.csv"
    rows = list(csv.DictReader(history.read_text().splitlines())) if history.is_file() else []
    learned = trainer.segments.learned().items()
    return {
        "tokens": {name: value.detach().clone() for name, value in learned},
        "history": [{name: float(value) for name, value in one.items() if name != "seconds"} for one in rows],
        "labels": list(trainer.evaluator._y_true),
        "answers": list(trainer.evaluator._y_pred),
        "accuracy": trainer.test_results["accuracy"],
    }


def _trainer(row: Row, clips: dict[str, str], folder: Path, more: dict[str, Any]) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    if row.case is not None:
        return build(row.case, row.boosted, clips, folder, **more, **dict(row.more))
    torch.manual_seed(3)
    more |= {"TRAINER__CASPL__TEACHER": clips["teacher"], "TRAINER__CASPL__BOOSTING_DIR": str(folder / "boosting")}
    more |= {"OUTPUT_DIR": str(folder / "run"), "OPTIM__LR": 0.01, "DATASET__NAME": "EuroSAT"}
    return make_trainer(make_cfg("CasPL", clips["student"], SIZES.resolution, **more), CLASSES)


def tokens_of_phase_1(folder: Path) -> dict[str, Tensor]:
    """Those of the one boosting file below a folder."""
    from safetensors.torch import load_file

    (path,) = folder.rglob("*.safetensors")
    return load_file(path)
