"""Trainers of a checkout behind the plug-in, on cases whose outcome is known.

    python -m tests.external.parity CHECKOUT WEIGHTS CASES NAME...

Each case NAME is a pair of files in the folder CASES, as in ``tests/parity/cases``, and prints one line: its largest
differences, or what went wrong. Casts to half precision are off, as they were when the cases were made.
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caspl.pixels import OPENAI_MEAN, OPENAI_STD
from tests.external.cpu import enter
from tests.no_data import without_data
from tests.parity import recipe
from tests.parity.published import require_agreement, set_published


def config(case: dict[str, Any], boosting: Path) -> Any:
    """The checkout's own config with the case's settings."""
    import caspl.plugin
    from dassl.config import get_cfg_default

    cfg = get_cfg_default()
    importlib.import_module("train").extend_cfg(cfg)
    caspl.plugin.extend_cfg(cfg)
    section = next(name for name in case["section"] if name != "KD")
    for key, value in case["section"][section].items():
        cfg.TRAINER[section][key] = value
    cfg.TRAINER.NAME = case["reference"].split()[-1]
    cfg.TRAINER.CASPL.BOOSTING = str(boosting)
    cfg.DATASET.NAME = "EuroSAT"
    cfg.MODEL.BACKBONE.NAME = "ViT-B/16"
    cfg.INPUT.SIZE = (recipe.RESOLUTION, recipe.RESOLUTION)
    cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD = list(OPENAI_MEAN), list(OPENAI_STD)
    cfg.USE_CUDA = False
    optim = {"NAME": "sgd", "LR": case["lr"], "MAX_EPOCH": case["epochs"], "LR_SCHEDULER": "cosine"}
    for key, value in (optim | {"WARMUP_EPOCH": 1, "WARMUP_TYPE": "constant"}).items():
        cfg.OPTIM[key] = value
    cfg.freeze()
    return cfg


def outcome(case: dict[str, Any], expected: dict[str, np.ndarray], boosting: Path) -> str:
    """The largest differences of a case that agrees, or the first line that says why it does not."""
    from dassl.engine import TRAINER_REGISTRY

    try:
        cfg = config(case, boosting)
        trainer: Any = without_data(TRAINER_REGISTRY.get(cfg.TRAINER.NAME), case["classnames"])(cfg)
        set_published(trainer, case)
        found = require_agreement(trainer, case, expected)
    except Exception as error:
        traceback.print_exc()
        return "failed: " + " ".join(str(error).split())[:200]
    return ", ".join(f"{name} {value:.0e}" for name, value in found.items())


def main() -> None:
    checkout, weights, cases, *names = sys.argv[1:]
    folder = Path(cases).resolve()
    enter(Path(checkout).resolve(), Path(weights).resolve(), full_precision=True)
    torch.manual_seed(0)
    for name in names:
        case = json.loads((folder / f"{name}.json").read_text())
        expected = dict(np.load(folder / f"{name}.npz"))
        print("CASE", name, outcome(case, expected, folder / f"{name}.safetensors"), flush=True)


if __name__ == "__main__":
    main()
