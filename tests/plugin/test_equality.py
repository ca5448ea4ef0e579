"""The plug-in around somebody else's trainer computes what our own ``CasPL_<X>`` and the authors' release compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from caspl.prompts.templates import SELECTED
from tests.conftest import CLASSES, boosting_file
from tests.parity.published import (
    LOGITS_AFTER,
    LOGITS_BEFORE,
    LOSSES,
    case_cfg,
    read_case,
    recipe_clips,
    require_agreement,
    set_published,
)
from tests.plugin import standins
from tests.plugin.clip import Style
from tests.plugin.harness import foreign, logits, ours, same_tokens, styled, train
from tests.stubs import make_cfg
from tests.tiny_clip import SIZES

STYLES = {
    "sequence-first": Style(),
    "batch-first": Style(batch_first=True),
    "own attention, sequence-first": Style(own_attention=True),
    "own attention, batch-first": Style(own_attention=True, batch_first=True),
    "batch-first around sequence-first attention": Style(batch_first=True, transposes=True),
    "sequence-first around batch-first attention": Style(transposes=True),
}
DEEP = {"N_CTX_VISION": 2, "N_CTX_TEXT": 4, "PROMPT_DEPTH_VISION": 3, "PROMPT_DEPTH_TEXT": 2}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "CoOp": ("CoOp", {"N_CTX": 4}),
    "CoOp from words": ("CoOp", {"CTX_INIT": "a photo of a"}),
    "CoOp, name in the middle": ("CoOp", {"N_CTX": 4, "CLASS_TOKEN_POSITION": "middle"}),
    "CoOp, name in front": ("CoOp", {"N_CTX": 4, "CLASS_TOKEN_POSITION": "front"}),
    "CoOp, class-specific": ("CoOp", {"N_CTX": 3, "CSC": True}),
    "CoCoOp": ("CoCoOp", {"N_CTX": 3}),
    "IVLP": ("IVLP", DEEP),
    "IVLP with words that stay": ("IVLP", DEEP | {"N_CTX_TEXT": 2, "PROMPT_DEPTH_TEXT": 3}),
    "PromptSRC": ("PromptSRC", DEEP | {"GPA_MEAN": 2}),
    "PromptSRC, boosted reference": ("PromptSRC", DEEP | {"GPA_MEAN": 2, "REFERENCE": "boosted"}),
    "MaPLe": ("MaPLe", {"N_CTX": 2, "PROMPT_DEPTH": 3}),
    "MaPLe, shallow": ("MaPLe", {"N_CTX": 6, "PROMPT_DEPTH": 1}),
    "MPL": ("MPL", {"N_CTX": 1, "N_ADD_OP": 2, "N_RM_OP": 1, "PROMPT_DEPTH": 3}),
    "MPL, patches removed": ("MPL", {"N_CTX": 2, "N_ADD_OP": 2, "N_RM_OP": 3, "PROMPT_DEPTH": 3}),
    "VPT": ("VPT", {"N_CTX_VISION": 2, "PROMPT_DEPTH_VISION": 2}),
    "boosting trains on": ("IVLP", DEEP | {"TRAINABLE": True}),
}


def config(method: str, options: dict[str, Any], student: str, folder: Path, **more: Any) -> Any:
    section = standins.__dict__[method].section
    keys = {key: "CASPL" if key in ("REFERENCE", "TRAINABLE") else section for key in options}
    settings = {f"TRAINER__{keys[key]}__{key}": value for key, value in options.items()}
    settings |= {f"TRAINER__{section}__PREC": "fp32", "DATASET__NAME": "EuroSAT", "OUTPUT_DIR": str(folder / "run")}
    settings |= {"OPTIM__LR": 0.2, "OPTIM__MAX_EPOCH": 3}
    settings["TRAINER__CASPL__BOOSTING"] = str(boosting_file(folder / "boosting.safetensors"))
    return make_cfg(f"CasPL_{method}", student, SIZES.resolution, **(settings | more))


def batch(epoch: int, index: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(100 * epoch + index)
    images = torch.randn(4, 3, SIZES.resolution, SIZES.resolution, generator=generator)
    return {"img": images, "label": torch.randint(len(CLASSES), (4,), generator=generator)}


PAIRS = [(name, "sequence-first") for name in METHODS]
PAIRS += [(name, "own attention, batch-first") for name in METHODS if name not in ("VPT", "CoCoOp")]
PAIRS += [(name, style) for name in ("IVLP", "MaPLe") for style in STYLES]
SHALLOW = [("IVLP", "batch-first"), ("MPL", "own attention, batch-first"), ("MaPLe", "sequence-first")]
ROWS = [(name, style, 3) for name, style in sorted(set(PAIRS))]
ROWS += [(name, style, depth) for name, style in SHALLOW for depth in (1, 2)]  # of 3 layers: the tokens flow on


@pytest.mark.parametrize(("name", "style", "depth"), ROWS)
def test_ours_and_theirs_agree(name: str, style: str, depth: int, clips: dict[str, str], tmp_path: Path) -> None:
    method, options = METHODS[name]
    boosting = boosting_file(tmp_path / "deep.safetensors", depth=depth)
    cfg = config(method, options, clips["student"], tmp_path, TRAINER__CASPL__BOOSTING=str(boosting))
    mine = ours(cfg, CLASSES)
    stand_in = styled(standins.__dict__[method], STYLES[style])
    theirs = foreign(stand_in, cfg, CLASSES)
    same_tokens(theirs, mine, factor=5)
    images = batch(9, 9)["img"]
    plain = foreign(stand_in, cfg, CLASSES, boosted=False)
    same_tokens(plain, mine)
    expected = logits(mine, images)
    assert (logits(plain, images) - expected).abs().max() > 0.1  # the boosting tokens matter
    torch.testing.assert_close(logits(theirs, images), expected, rtol=0, atol=LOGITS_BEFORE)

    losses = train(mine, batch, 3, 2)
    np.testing.assert_allclose(train(theirs, batch, 3, 2), losses, rtol=0, atol=LOSSES)

    after = logits(mine, images)
    assert (after - expected).abs().max() > 10 * LOGITS_AFTER
    torch.testing.assert_close(logits(theirs, images), after, rtol=0, atol=LOGITS_AFTER)


@pytest.mark.parametrize("templates", [("a centered satellite photo of {}.",), SELECTED], ids=["one", "seven"])
def test_zero_shot(templates: tuple[str, ...], clips: dict[str, str], tmp_path: Path) -> None:
    """Boosting alone; an ensemble keeps its words."""
    name = "ZeroshotCLIP" if len(templates) == 1 else "ZeroshotCLIP2"
    settings = {"DATASET__NAME": "EuroSAT" if len(templates) == 1 else "ImageNet", "OUTPUT_DIR": str(tmp_path)}
    settings["TRAINER__CASPL__BOOSTING"] = str(boosting_file(tmp_path / "boosting.safetensors"))
    cfg = make_cfg(f"CasPL_{name}", clips["student"], SIZES.resolution, **settings)
    stand_in = type(name, (standins.ZeroshotCLIP,), {"templates": templates})
    images = batch(0, 0)["img"]
    expected = logits(ours(cfg, CLASSES), images)
    torch.testing.assert_close(logits(foreign(stand_in, cfg, CLASSES), images), expected, rtol=0, atol=LOGITS_BEFORE)
    assert (logits(foreign(stand_in, cfg, CLASSES, boosted=False), images) - expected).abs().max() > 0.1


@pytest.mark.parametrize("name", ["coop", "cocoop", "maple", "maple_words2", "promptsrc", "promptsrc_uneven"])
def test_theirs_and_the_release_agree(name: str, tmp_path: Path) -> None:
    """Stand-ins behind the plug-in against what the authors' code computed."""
    case, expected = read_case(f"caspl_{name}")
    with recipe_clips():
        cfg = case_cfg(case, tmp_path)
        trainer = foreign(standins.__dict__[cfg.TRAINER.NAME.removeprefix("CasPL_")], cfg, case["classnames"])
        set_published(trainer, case)
        require_agreement(trainer, case, expected)
