"""Runs of trainers on kept features over the small data set, and its features by plain code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

import train
from caspl.pixels import OPENAI_MEAN, OPENAI_STD
from caspl.towers import CLIP
from dassl.engine import TRAINER_REGISTRY
from tests.runs import Runs
from tests.tiny_clip import tiny_clip
from trainers import session
from trainers.config import build_cfg

SHOTS = 2


def command(runs: Runs, trainer: str, out: str, *more: str) -> list[str]:
    """A run of two shots with the published file, in float32."""
    section = TRAINER_REGISTRY.get(trainer).section
    pairs = ["DATASET.NUM_SHOTS", str(SHOTS), f"TRAINER.{section}.PREC", "fp32"]
    if section == "TIPADAPTER":
        pairs += ["TRAINER.TIPADAPTER.VIEWS", "2", "TRAINER.TIPADAPTER.SEARCH_STEP", "(5, 4)"]
    return runs.arguments(trainer, f"{trainer.removeprefix('CasPL_')}/vit_b16", out, *pairs, *more)


def run(runs: Runs, trainer: str, out: str, *more: str) -> dict[str, Any]:
    """Its record."""
    assert train.main(command(runs, trainer, out, *more)) == 0
    return json.loads((runs.folder / out / "result.json").read_text())


def evaluate(runs: Runs, trainer: str, model: str, out: str, *more: str) -> dict[str, Any]:
    return run(runs, trainer, out, "--eval-only", "--model-dir", str(runs.folder / model), *more)


def built(runs: Runs, trainer: str, out: str, *more: str) -> Any:
    """The trainer of such a run, not yet run."""
    args = train.parser().parse_intermixed_args(command(runs, trainer, out, *more))
    return session.build(build_cfg(args), args)


def state(folder: Path) -> dict[str, Tensor]:
    """The head of a run's last checkpoint."""
    (path,) = folder.glob("*/model.pth.tar-*")
    saved = torch.load(path, weights_only=True)["state_dict"]
    return {name.removeprefix("head."): value for name, value in saved.items() if name.startswith("head.")}


def plain_features(items: Any, clip: CLIP | None = None) -> tuple[Tensor, Tensor]:
    """Of images as in tests, one by one: (images, embed_dim) and labels."""
    clip = clip or tiny_clip()
    bicubic = transforms.InterpolationMode.BICUBIC
    steps = [transforms.Resize(32, bicubic), transforms.CenterCrop(32), transforms.ToTensor()]
    look = transforms.Compose([*steps, transforms.Normalize(OPENAI_MEAN, OPENAI_STD)])
    with torch.no_grad():
        rows = [clip.visual(look(Image.open(item.impath).convert("RGB"))[None])[0] for item in items]
    return torch.stack(rows), torch.tensor([item.label for item in items])


def repeated(runs: Runs, trainer: str, tensor: str, *same: str) -> dict[str, Tensor]:
    """The head of the run "base", after runs of its own and of another seed were compared with it."""
    first = state(runs.folder / "base")
    run(runs, trainer, "twin", *same)
    assert all(torch.equal(value, first[name]) for name, value in state(runs.folder / "twin").items())
    run(runs, trainer, "seed2", *same, "--seed", "2")
    assert not torch.equal(state(runs.folder / "seed2")[tensor], first[tensor])
    return first
