"""Sentences that name what is wrong, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from caspl.errors import CasPLError
from tests.conftest import CLASSES
from tests.plugin import standins
from tests.plugin.clip import CLIP, Style, load_clip_to_cpu
from tests.plugin.harness import foreign, train
from tests.plugin.test_cascade import Forgetful, NoTower, Renamed
from tests.plugin.test_equality import DEEP, batch, config


class Pooled(NoTower):
    """With the part that only a ResNet has."""

    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        model: Any = super().assemble(clip, names)
        model.image_encoder.attnpool = nn.Identity()
        return model


def test_a_resnet_is_a_resnet_by_its_parts_not_by_its_name(clips: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "modern"  # whose name has the letters of ResNets'
    folder.mkdir()
    student = shutil.copy(clips["student"], folder / "student.safetensors")
    cfg = config("CoOp", {"N_CTX": 4}, str(student), tmp_path)
    for trainer, said in ((NoTower, False), (Pooled, True)):
        with pytest.raises(CasPLError, match="holds no image tower") as caught:
            foreign(trainer, cfg, CLASSES)
        assert ("ResNet towers have no tokens" in str(caught.value)) is said


def test_another_tower_that_runs_is_named(clips: dict[str, str], tmp_path: Path) -> None:
    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    hints = {"text_tower": "student.text_encoder", "image_tower": "other.visual", "class_start": 5}
    sentence = (
        r"did not run the image tower other.visual .* for its first batch, but the image tower student.image_encoder "
        r".*, which does not see the boosting tokens: .* caspl.plugin.cascade.*image_tower='student.image_encoder'"
    )
    with pytest.raises(CasPLError, match=sentence):
        train(foreign(Renamed, cfg, CLASSES, **hints), batch, 1, 1)


class OutsideTheModel(standins.CoOp):
    def assemble(self, clip: CLIP, names: list[str]) -> nn.Module:
        model: Any = super().assemble(clip, names)
        self.other = load_clip_to_cpu(self.cfg.MODEL.BACKBONE.NAME, Style())
        model.image_encoder.forward = self.other.visual.forward
        return model


@pytest.mark.parametrize(
    ("trainer", "options", "sentence"),
    [
        (OutsideTheModel, {"N_CTX": 4}, "but the image tower visual .*, which is not in self.model and does not see"),
        (Forgetful, DEEP, "nor any other tower of a CLIP, but used features that it had made before"),
    ],
)
def test_what_ran_instead_is_said(
    trainer: Any, options: dict[str, Any], sentence: str, clips: dict[str, str], tmp_path: Path
) -> None:
    cfg = config(trainer.__bases__[0].__name__, options, clips["student"], tmp_path)
    with pytest.raises(CasPLError, match=sentence):
        train(foreign(trainer, cfg, CLASSES), batch, 1, 1)


def test_a_trainer_that_learns_nothing_is_not_trained(clips: dict[str, str], tmp_path: Path) -> None:
    cfg = config("VPT", {"N_CTX_VISION": 2}, clips["student"], tmp_path)
    trainer = foreign(standins.ZeroshotCLIP, cfg, CLASSES)
    with pytest.raises(CasPLError, match="CasPL_ZeroshotCLIP learns nothing, .* evaluate it with --eval-only"):
        trainer.train()
