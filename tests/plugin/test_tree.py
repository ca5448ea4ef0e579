"""The plug-in in a program that is not ours (``tree.py``), from the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import train
from caspl.boosting import read_boosting
from dassl.utils.logger import close_logger
from tests.tiny_clip import SIZES

REPO = Path(train.__file__).parent


def run(trainer: str, folder: Path, root: Path, clips: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    # fmt: off
    command = [
        sys.executable, "-W", "error", "-m", "tests.plugin.tree", "--root", str(root), "--trainer", trainer,
        "--output-dir", str(folder / trainer), *(["--eval-only", *more[:2]] if "--model-dir" in more else []),
        *settings(folder, clips), *(more[2:] if "--model-dir" in more else more),
    ]
    # fmt: on
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # as the tests themselves: sums in the same order
    return subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False)


def settings(folder: Path, clips: dict[str, str]) -> list[str]:
    pairs = {
        "SEED": "1",
        "USE_CUDA": "False",
        "INPUT.SIZE": f"({SIZES.resolution}, {SIZES.resolution})",
        "INPUT.TRANSFORMS": "['random_flip', 'normalize']",
        "OPTIM.NAME": "sgd",
        "OPTIM.LR": "0.02",
        "OPTIM.LR_SCHEDULER": "cosine",
        "OPTIM.MAX_EPOCH": "1",
        "DATALOADER.NUM_WORKERS": "0",
        "MODEL.BACKBONE.NAME": clips["student"],
        "TRAINER.CASPL.TEACHER": clips["teacher"],
        "TRAINER.CASPL.BOOSTING_DIR": str(folder / "boosting"),
        "TRAINER.CASPL.N_CTX_TEXT": "3",
        "TRAINER.CASPL.N_CTX_VISION": "2",
    }
    return [word for pair in pairs.items() for word in pair]


def test_both_phases(eurosat: Path, clips: dict[str, str], tmp_path: Path) -> None:
    early = run("CasPL_CoOp", tmp_path, eurosat, clips)
    assert early.returncode == 1
    assert early.stderr.strip().splitlines()[-1].startswith("error: no boosting file for EuroSAT, student ")
    assert "Traceback" not in early.stderr

    boosted = run("CasPL", tmp_path, eurosat, clips)
    assert boosted.returncode == 0, boosted.stderr
    assert "boosting tokens written to" in boosted.stdout
    assert "boosting tokens written to" in (tmp_path / "CasPL" / "log.txt").read_text()
    path = next((tmp_path / "boosting").glob("EuroSAT/student/text3x3_vision2x3/seed1.safetensors"))

    adapted = run("CasPL_CoOp", tmp_path, eurosat, clips)
    assert adapted.returncode == 0, adapted.stderr
    accuracy = next(line for line in adapted.stdout.splitlines() if "* accuracy" in line)
    tested = run("CasPL_CoOp", tmp_path, eurosat, clips, "--model-dir", str(tmp_path / "CasPL_CoOp"))
    assert tested.returncode == 0, tested.stderr
    assert accuracy in tested.stdout
    new = run("CasPL_CoOp", tmp_path, eurosat, clips, "--model-dir", str(tmp_path / "CasPL_CoOp"),
              "DATASET.SUBSAMPLE_CLASSES", "new")  # fmt: skip
    assert new.returncode == 0, new.stderr
    assert "total: 15" in new.stdout

    # Evaluation needs neither a teacher nor the file that phase 1 would write: other classes may be looked at.
    model = ["--model-dir", str(tmp_path / "CasPL")]
    alone = run("CasPL", tmp_path, eurosat, clips, *model, "TRAINER.CASPL.TEACHER", "absent.pt",
                "DATASET.SUBSAMPLE_CLASSES", "new")  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    assert "total: 15" in alone.stdout

    refused = run("CasPL", tmp_path, eurosat, clips, "TRAINER.CASPL.TEMPERATURE", "2.0")
    assert "was made with other settings or classes" in refused.stderr
    assert path.is_file()
    path.unlink()  # Dassl would go on in the old folder, and the old tokens would be written under a new name
    for change in (("TRAINER.CASPL.TEMPERATURE", "2.0"), ("OPTIM.LR", "0.5")):
        mixed = run("CasPL", tmp_path, eurosat, clips, *change)
        assert mixed.returncode == 1
        assert f"holds a run of other settings ({change[0]} " in mixed.stderr
    assert not path.exists()


@pytest.mark.filterwarnings("default")
def test_phase_1_is_ours(eurosat: Path, clips: dict[str, str], tmp_path: Path) -> None:
    """The trainer that the plug-in registers elsewhere learns the same tokens, bit for bit."""
    assert run("CasPL", tmp_path, eurosat, clips, "TEST.NO_TEST", "True").returncode == 0
    config = ["--dataset-config-file", str(REPO / "configs/datasets/eurosat.yaml"), "--trainer", "CasPL"]
    here = [*config, "--root", str(eurosat), "--output-dir", str(tmp_path / "ours"), *settings(tmp_path / "our", clips)]
    assert train.main([*here, "TEST.NO_TEST", "True"]) == 0
    close_logger()
    theirs, mine = (
        read_boosting(next((tmp_path / folder).rglob("seed1.safetensors"))) for folder in ("boosting", "our")
    )
    assert theirs.text is not None
    assert mine.text is not None
    assert theirs.vision is not None
    assert mine.vision is not None
    assert torch.equal(theirs.text, mine.text)
    assert torch.equal(theirs.vision, mine.vision)
    assert theirs.header.classnames == mine.header.classnames
