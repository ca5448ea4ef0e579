"""Command lines of ``train.py`` over a small data set, and what they say when they refuse."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

import train

REPO = Path(train.__file__).parent
FEW = ["INPUT.SIZE", "(32, 32)", "DATALOADER.NUM_WORKERS", "0", "DATALOADER.TRAIN_X.BATCH_SIZE", "8"]


class Runs:
    """Command lines over the small data set, below one folder."""

    def __init__(self, root: Path, clips: dict[str, str], folder: Path) -> None:
        self.root, self.clips, self.folder = root, clips, folder

    def arguments(self, trainer: str, config: str, out: str, *more: str) -> list[str]:
        # fmt: off
        return [
            "--root", str(self.root), "--trainer", trainer, "--seed", "1", "--backbone", self.clips["student"],
            "--dataset-config-file", str(REPO / "configs/datasets/eurosat.yaml"),
            "--config-file", str(REPO / "configs/trainers" / f"{config}.yaml"), "--output-dir", str(self.folder / out),
            *FEW, "TRAINER.CASPL.TEACHER", self.clips["teacher"],
            "TRAINER.CASPL.BOOSTING_DIR", str(self.folder / "boosting"), *more,
        ]
        # fmt: on

    def phase1(self, out: str = "boost", *more: str) -> list[str]:
        config = "CasPL/vit_b16_c2_ep20_batch4_8+8ctx_l12"
        return self.arguments("CasPL", config, out, "TRAINER.CASPL.PREC", "fp32", "OPTIM.MAX_EPOCH", "3", *more)

    def phase2(self, out: str = "adapt", *more: str) -> list[str]:
        config = "CasPL_PromptSRC/vit_b16_c2_ep20_batch4_8+8ctx_l12"
        options = ["DATASET.NUM_SHOTS", "4", "DATASET.SUBSAMPLE_CLASSES", "base", "OPTIM.MAX_EPOCH", "3"]
        options += ["TRAINER.PROMPTSRC.PREC", "fp32", "TRAINER.PROMPTSRC.GPA_MEAN", "2"]
        return self.arguments("CasPL_PromptSRC", config, out, *options, *more)


def learned(folder: Path) -> dict[str, str]:
    """A digest of the tokens in each checkpoint and boosting file below a folder."""
    found = {}
    for path in sorted([*folder.rglob("model*.pth.tar*"), *folder.rglob("*.safetensors")]):
        if path.suffix == ".safetensors":
            content = path.read_bytes()
        else:
            state = torch.load(path, weights_only=True)["state_dict"]
            content = b"".join(value.numpy().tobytes() for value in state.values() if isinstance(value, torch.Tensor))
        found[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """Exit code 2 and one sentence on standard error, without a traceback."""
    assert train.main(arguments) == 2
    error = capsys.readouterr().err
    after = error[error.index("error: ") :].splitlines()
    assert len(after) == 1
    return after[0]
