"""What the runs in other code bases work on: a miniature data set, small CLIPs, and cases with their outcome."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from caspl.towers import Sizes, random_state_dict
from caspl.towers.weights import write_clip
from tests.no_data import without_data
from tests.parity.published import (
    CASES,
    case_cfg,
    clip_weights,
    draw,
    evaluate,
    read_case,
    recipe_clips,
    run_training,
    target,
    write_frozen,
)

EUROSAT = (
    *("AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial"),
    *("Pasture", "PermanentCrop", "Residential", "River", "SeaLake"),
)
SIDE = 64
# Widths that code bases write into their code: 512 and 768 in the student, 768 out of PromptKD's teacher.
STUDENT = Sizes(512, SIDE, 16, vision_width=768, vision_layers=3, text_width=512, text_layers=3)
TEACHER = Sizes(768, SIDE, 16, vision_width=1024, vision_layers=3, text_width=768, text_layers=3)
# Cases that the authors' release computed; methods without one are compared with our own trainers.
RELEASED = ("caspl_coop", "caspl_cocoop", "caspl_maple", "caspl_maple_words2", "caspl_promptsrc")
OURS = {"caspl_ivlp": ("ivlp_depth3", "CasPL_IVLP"), "caspl_mpl": ("mpl_add2_rm1", "CasPL_MPL")}


def make_eurosat(root: Path) -> None:
    """EuroSAT's layout, ten images a class of noise around a colour."""
    generator = np.random.default_rng(0)
    for name in EUROSAT:
        folder = root / "eurosat" / "2750" / name
        folder.mkdir(parents=True)
        colour = generator.integers(0, 256, 3)
        for number in range(1, 11):
            pixels = np.clip(colour + generator.integers(-60, 60, (SIDE, SIDE, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}_{number}.jpg")


def make_weights(folder: Path) -> None:
    """A student and a teacher under the names of OpenAI's files, of numbers that half precision holds exactly."""
    folder.mkdir(parents=True)
    for name, sizes, seed in (("ViT-B-16.pt", STUDENT, 0), ("ViT-L-14.pt", TEACHER, 1)):
        state = random_state_dict(sizes, seed)
        for key in ("positional_embedding", "token_embedding.weight"):
            state[key] = state[key] * 20  # so that class names and positions matter
        _write(folder, name, {key: value.half().float() for key, value in state.items()})


def _write(folder: Path, name: str, state: dict[str, Any]) -> None:
    """For the code base as OpenAI's file, for the plug-in as one that says that it is cut down."""
    torch.save(state, folder / name)
    cut = folder / "cut" / Path(name).with_suffix(".safetensors")
    cut.parent.mkdir(exist_ok=True)
    write_clip(cut, state, "quick_gelu", Sizes.of(state).heads)


def make_cases(folder: Path, weights: Path) -> list[str]:
    """The cases, each with its boosting file, and the CLIP that they are of."""
    folder.mkdir(parents=True)
    weights.mkdir(parents=True)
    _write(weights, "ViT-B-16.pt", clip_weights(0))
    with recipe_clips():
        for name in RELEASED:
            for suffix in (".json", ".npz"):
                shutil.copy(CASES / (name + suffix), folder)
            _move(write_frozen(read_case(name)[0], folder), folder / f"{name}.safetensors")
        for name, (base, trainer) in OURS.items():
            _compute(name, base, trainer, folder)
    return [*RELEASED, *OURS]


def _compute(name: str, base: str, trainer: str, folder: Path) -> None:
    """A case of our own trainer: the settings of a published case, behind the boosting tokens of another."""
    from dassl.engine import TRAINER_REGISTRY

    case: dict[str, Any] = read_case(base)[0] | {
        "reference": trainer,
        "frozen": read_case("caspl_promptsrc")[0]["frozen"],
    }
    cfg = case_cfg(case, folder)
    ours: Any = without_data(TRAINER_REGISTRY.get(trainer), case["classnames"])(cfg)
    learned = {key: value.data for key, value in ours.segments.learned().items()}
    for published, shape in case["learnable"].items():
        target(published, learned).copy_(draw(published, shape, case["seed"]))
    ours.start()
    before = evaluate(ours, case)
    losses, rates = run_training(ours, case)
    np.savez(folder / f"{name}.npz", logits_before=before, losses=losses, lrs=rates, logits_after=evaluate(ours, case))
    (folder / f"{name}.json").write_text(json.dumps(case))
    _move(cfg.TRAINER.CASPL.BOOSTING, folder / f"{name}.safetensors")


def _move(source: str, destination: Path) -> None:
    shutil.move(source, destination)
