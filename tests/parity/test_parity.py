"""Our trainers against what published implementations computed (see README.md beside this file)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from caspl.classifier import class_logits
from caspl.losses import most_probable
from caspl.step import Batch
from tests.device import DEVICE
from tests.parity import recipe
from tests.parity.published import (
    CASES,
    LOGITS_AFTER,
    LOGITS_BEFORE,
    OVERWRITTEN,
    case_cfg,
    drawn,
    evaluate,
    read_case,
    recipe_clips,
    require_agreement,
    target,
)
from tests.stubs import make_trainer

UNITS = ("kdpl_selection", "fdbpl_units")  # no training runs
NAMES = sorted(path.stem for path in CASES.glob("*.json") if path.stem not in UNITS)


@pytest.fixture(autouse=True)
def _recipe_clips() -> Iterator[None]:
    with recipe_clips():
        yield


def build(case: dict[str, Any], folder: Path) -> Any:
    built = make_trainer(case_cfg(case, folder), case["classnames"], case.get("all_classnames", ()))
    tensors, learnable = built.segments.tensors(), case["learnable"].keys() - {OVERWRITTEN}
    for name in (learnable | case.get("no_gradient", {}).keys()) - set(case.get("from_clip", ())):
        place = target(name, tensors)  # a convolution of one pixel is a matrix here
        place.copy_(drawn(case, name).reshape(place.shape))
    covered = sum(int(np.prod(case["learnable"][name])) for name in learnable)
    assert covered == sum(p.numel() for p in built.model.parameters() if p.requires_grad)
    return built


@pytest.mark.parametrize("name", NAMES)
def test_case(name: str, tmp_path: Path) -> None:
    case, expected = read_case(name)
    trainer = build(case, tmp_path)
    trainer.start()
    if "teacher_seed" in case:
        images = torch.from_numpy(recipe.images("test", 6, case["seed"])).to(DEVICE)
        found = trainer.teacher if hasattr(trainer, "teacher") else trainer.distillation.teacher
        teacher = found.logits(Batch(images, images), trainer.model.scale).cpu().numpy()
        published = expected["logits_teacher" if "logits_teacher" in expected else "teacher_logits_test"]
        np.testing.assert_allclose(teacher, published, rtol=0, atol=LOGITS_BEFORE)

    if "logits_negative_before" in expected:
        agree_on_negatives(trainer, case, expected["logits_negative_before"], LOGITS_BEFORE)

    require_agreement(trainer, case, expected)
    for name in [name for name in expected if "running_" in name]:
        found = target(name.removeprefix("final/"), trainer.segments.tensors()).cpu().numpy()
        np.testing.assert_allclose(found, expected[name], rtol=0, atol=LOGITS_AFTER)

    if "logits_negative_after" in expected:
        agree_on_negatives(trainer, case, expected["logits_negative_after"], LOGITS_AFTER)

    if "logits_new_classes" in expected:
        names = case["new_classnames"]
        if case.get("include_all_classes"):
            names = [*names, *(name for name in case["all_classnames"] if name not in names)]
        trainer.model.set_classes(names)
        np.testing.assert_allclose(evaluate(trainer, case), expected["logits_new_classes"], rtol=0, atol=LOGITS_AFTER)


def agree_on_negatives(trainer: Any, case: dict[str, Any], expected: np.ndarray, tolerance: float) -> None:
    """FDBPL's second set of texts."""
    images = torch.from_numpy(recipe.images("test", 6, case["seed"])).to(DEVICE)
    with torch.no_grad():
        output = trainer.model(images)
        found = class_logits(trainer.model.scale, output.image, output.others["negative"])
    np.testing.assert_allclose(found.cpu().numpy(), expected, rtol=0, atol=tolerance)


def test_a_teacher_chooses_names_as_published() -> None:
    """By the mean of probabilities: the mean of logits would choose others."""
    case, expected = read_case("kdpl_selection")
    for one in case["cases"]:
        chosen = most_probable(torch.from_numpy(expected[f"{one['name']}/logits"]), one["k"])
        assert sorted(chosen.tolist()) == one["chosen"]
