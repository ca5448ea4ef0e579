"""A converted method as the folder of a run: what ``caspl.load`` and ``--eval-only`` read."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from caspl.checkpoint import SegmentStore
from caspl.convert.methods import FOLDERS
from caspl.files import write_atomically
from caspl.model import PromptedCLIP
from caspl.pixels import pixels_of
from caspl.prompts import Prompts
from caspl.towers import CLIP
from caspl.zoo import weights_hash


def checkpoint_path(folder: Path, method: str, epoch: int) -> Path:
    """Where a run of a method has the checkpoint of an epoch, counted from 1."""
    return folder / FOLDERS[method] / f"model.pth.tar-{epoch}"


def write_run(
    path: Path,
    epoch: int,
    student: str,
    clip: CLIP,
    prompts: Prompts,
    classnames: Sequence[str],
    trained_on: Mapping[str, Any],
) -> None:
    """Write the checkpoint, and beside it the file that names it.

    Args:
        path: as :func:`checkpoint_path`.
        epoch: how many are finished.
        student, clip: the student and its name.
        prompts: with their values.
        classnames: of the training.
        trained_on: see :class:`caspl.checkpoint.Checkpoint`.
    """
    model = PromptedCLIP.of(clip, prompts, classnames)
    pixels = pixels_of(student, clip.sizes).as_dict()
    state = SegmentStore(model, student, weights_hash(clip), pixels, trained_on).state_dict()
    content = {"state_dict": dict(state), "epoch": epoch, "optimizer": None, "scheduler": None, "val_result": None}
    whole = io.BytesIO()
    torch.save(content, whole)
    write_atomically(path, lambda temporary: Path(temporary).write_bytes(whole.getbuffer()))
    write_atomically(path.parent / "checkpoint", lambda temporary: Path(temporary).write_text(f"{path.name}\n"))
