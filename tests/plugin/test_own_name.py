"""Both phases under a trainer's own name, and checkpoints that say whose they are."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from caspl.dassl.plugin.own_name import by_phase
from caspl.dassl.plugin.stored import OF, STORED_AS
from caspl.errors import CasPLError
from dassl.config import get_cfg_default
from dassl.utils import load_checkpoint
from tests.conftest import CLASSES
from tests.no_data import build_data_loader, without_data
from tests.plugin import standins
from tests.plugin.harness import foreign, logits, train
from tests.plugin.test_equality import DEEP, batch, config
from tests.plugin.test_tree import run


def test_both_phases_under_the_trainers_own_name(eurosat: Path, clips: dict[str, str], tmp_path: Path) -> None:
    """As a code base needs it whose train.py knows no other name."""

    def runs(phase: int, *more: str) -> Any:
        return run("CoOp", tmp_path / str(phase), eurosat, clips, *more, "TRAINER.CASPL.PHASE", str(phase),
                   "TRAINER.CASPL.BOOSTING_DIR", str(tmp_path / "boosting"))  # fmt: skip

    learned = runs(1)
    assert learned.returncode == 0, learned.stderr
    assert (tmp_path / "boosting/EuroSAT/student/text3x3_vision2x3/seed1.safetensors").is_file()
    adapted = runs(2)
    assert adapted.returncode == 0, adapted.stderr
    assert "boosted: the image tower image_encoder" in adapted.stdout
    accuracy = next(line for line in adapted.stdout.splitlines() if "* accuracy" in line)
    checkpoint = ["--model-dir", str(tmp_path / "2" / "CoOp")]
    tested = runs(2, *checkpoint)
    assert tested.returncode == 0, tested.stderr
    assert accuracy in tested.stdout
    plain = runs(0, *checkpoint)
    assert plain.returncode == 1
    assert (
        plain.stderr.strip()
        .splitlines()[-1]
        .startswith(
            "error: this checkpoint holds boosting tokens: it is of CasPL_CoOp, and CoOp would run it without them"
        )
    )
    named = run("CasPL_CoOp", tmp_path / "named", eurosat, clips, *checkpoint, "TRAINER.CASPL.BOOSTING_DIR",
                str(tmp_path / "boosting"))  # fmt: skip
    assert named.returncode == 0, named.stderr
    assert accuracy in named.stdout
    both = run("CasPL_CoOp", tmp_path, eurosat, clips, "TRAINER.CASPL.PHASE", "1")
    assert "TRAINER.CASPL.PHASE is 1, but --trainer CasPL_CoOp is phase 2" in both.stderr


@pytest.mark.parametrize("method", ["CoOp", "IVLP", "PromptSRC"])
def test_a_checkpoint_says_whose_cascade_it_is_of(
    method: str, clips: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Averages of weights included."""
    options = {"N_CTX": 4} if method == "CoOp" else DEEP | ({"GPA_MEAN": 2} if method == "PromptSRC" else {})
    cfg = config(method, options, clips["student"], tmp_path)
    stand_in = standins.__dict__[method]
    trainer = foreign(stand_in, cfg, CLASSES)
    train(trainer, batch, 3, 1)
    trainer.save_model(0, str(tmp_path / "run"))
    state = load_checkpoint(str(tmp_path / "run" / "prompts" / "model.pth.tar-1"))["state_dict"]
    said = [key for key in state if key.startswith(f"{STORED_AS}.{OF}.")]
    assert said == [f"{STORED_AS}.{OF}.{method}"]

    plain = without_data(by_phase(stand_in), CLASSES)(cfg)
    sentence = f"it is of CasPL_{method}, and {method} would run it without them; use --trainer CasPL_{method}, or TR"
    with pytest.raises(CasPLError, match=sentence):
        plain.load_model(str(tmp_path / "run"), epoch=1)
    trainer.load_model(str(tmp_path / "run"), epoch=1)

    other = foreign(type("Other", (stand_in,), {}), cfg, CLASSES)
    with caplog.at_level(logging.WARNING, "caspl"):
        other.load_model(str(tmp_path / "run"), epoch=1)
    assert f"this checkpoint is of the cascade of {method}, not of Other" in caplog.text
    images = batch(9, 9)["img"]
    torch.testing.assert_close(logits(other, images), logits(trainer, images), rtol=0, atol=1e-4)

    for key in said:  # as those of earlier versions
        del state[key]
    trainer._models["prompts"].load_state_dict(state)


def test_a_trainer_without_phase_is_what_it_was(clips: dict[str, str], tmp_path: Path) -> None:
    class Whole(standins.CoOp):
        """Documented."""

        build_data_loader = build_data_loader(CLASSES)

    cfg = config("CoOp", {"N_CTX": 4}, clips["student"], tmp_path)
    made = by_phase(Whole)
    assert (made.__name__, made.__module__, made.__doc__) == (Whole.__name__, Whole.__module__, Whole.__doc__)
    trainer = made(cfg)
    assert isinstance(trainer, Whole)
    assert isinstance(copy.copy(trainer), Whole)
    trainer.save_model(0, str(tmp_path / "run"))
    trainer.load_model(str(tmp_path / "run"), epoch=1)


@pytest.mark.parametrize(
    ("phase", "sentence"),
    [(3, "TRAINER.CASPL.PHASE is 0 .*, 1 .* or 2 .*, not 3"), (2, "PHASE is 2, but Lonely has no cascade: leave it 0")],
)
def test_phases_that_cannot_be_are_refused(phase: int, sentence: str) -> None:
    class Lonely(standins.CoOp):
        """Registered nowhere."""

    cfg = get_cfg_default()
    cfg.TRAINER.CASPL = type(cfg)({"PHASE": phase})
    with pytest.raises(CasPLError, match=sentence):
        by_phase(Lonely)(cfg)
