"""Checkpoints: files that hold tensors and plain values.

A checkpoint is written as a whole or not at all, and read by the safe loader of torch. Files of older
versions, which the safe loader refuses, go through :mod:`.legacy`; no file ever runs code.
"""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from .atomic import atomic_write, copy_whole, save_whole
from .legacy import load_legacy
from .logger import logger

__all__ = [
    "BEST_NAME",
    "load_checkpoint",
    "load_plain",
    "load_to_cpu",
    "read_noted_epoch",
    "resume_from_checkpoint",
    "save_checkpoint",
    "strip_module_prefix",
]

BEST_NAME = "model-best.pth.tar"

V = TypeVar("V")


class Stateful(Protocol):
    """An optimizer or a scheduler, as far as a checkpoint is concerned."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state."""


def strip_module_prefix(state_dict: Mapping[str, V]) -> OrderedDict[str, V]:
    """Return the entries with one leading "module." (the mark of DataParallel) taken off each key."""
    return OrderedDict((key.removeprefix("module."), value) for key, value in state_dict.items())


def save_checkpoint(
    state: dict[str, Any],
    save_dir: str,
    is_best: bool = False,
    remove_module_from_keys: bool = True,
    model_name: str = "",
) -> None:
    """Write a checkpoint and note its name in the text file ``checkpoint`` beside it.

    Args:
        state: "state_dict" (of the model) and "epoch", and whatever else belongs to it.
        save_dir: the folder, created if needed.
        is_best: also write a copy named ``model-best.pth.tar``.
        remove_module_from_keys: take one leading "module." off the model's keys; ``state`` stays as it is.
        model_name: the file name; by default ``model.pth.tar-<epoch>``.
    """
    os.makedirs(save_dir, exist_ok=True)
    if remove_module_from_keys:
        state = {**state, "state_dict": strip_module_prefix(state["state_dict"])}
    name = model_name or f"model.pth.tar-{state['epoch']}"
    fpath = os.path.join(save_dir, name)
    with atomic_write(fpath) as file:
        save_whole(state, file)
    logger.info("Checkpoint saved to %s", fpath)
    with atomic_write(os.path.join(save_dir, "checkpoint"), "w") as file:
        file.write(f"{name}\n")
    if is_best:
        best = os.path.join(save_dir, BEST_NAME)
        copy_whole(fpath, best)
        logger.info('Best checkpoint saved to "%s"', best)


def load_checkpoint(fpath: str) -> dict[str, Any]:
    """Read a checkpoint, never running code that it may contain.

    Tensors stay on the device they were saved from, or come to the CPU where there is no CUDA.

    Raises:
        ValueError: the path is None.
        FileNotFoundError: there is no such file.
        pickle.UnpicklingError: the file holds other things than tensors and plain values.
    """
    return _load(fpath, map_location=None if torch.cuda.is_available() else "cpu")


def load_to_cpu(fpath: str) -> dict[str, Any]:
    """Read a checkpoint as :func:`load_checkpoint` does, but with all tensors on the CPU.

    This is for states that are copied to where they belong: neither does it start CUDA in a run on the CPU, nor is
    there a second copy on the device.
    """
    return _load(fpath, map_location="cpu")


def _load(fpath: str, map_location: str | None) -> dict[str, Any]:
    if fpath is None:
        raise ValueError("File path is None")
    if not os.path.exists(fpath):
        raise FileNotFoundError(f'File is not found at "{fpath}"')
    try:
        return load_plain(fpath, map_location)
    except Exception:
        logger.error('Unable to load checkpoint from "%s"', fpath)
        raise


def load_plain(fpath: str, map_location: str | None) -> dict[str, Any]:
    """Read a file of tensors and plain values; objects of older versions come back inert.

    Args:
        fpath: the file.
        map_location: where its tensors go; None leaves them where they were.

    Raises:
        pickle.UnpicklingError: the file holds other things.
    """
    try:
        return torch.load(fpath, map_location=map_location, weights_only=True)
    except UnicodeDecodeError:  # written by Python 2
        return torch.load(fpath, map_location=map_location, weights_only=True, encoding="latin1")
    except pickle.UnpicklingError:
        return load_legacy(fpath, map_location)


def _noted(fdir: str) -> str:
    with open(os.path.join(fdir, "checkpoint"), encoding="utf-8") as file:
        return os.path.join(fdir, file.readline().strip())


def read_noted_epoch(fdir: str) -> int | None:
    """Return how many epochs the checkpoint that ``fdir/checkpoint`` names has seen; None without such a note."""
    if not os.path.exists(os.path.join(fdir, "checkpoint")):
        return None
    return load_to_cpu(_noted(fdir))["epoch"]


def resume_from_checkpoint(
    fdir: str, model: nn.Module, optimizer: Stateful | None = None, scheduler: Stateful | None = None
) -> int:
    """Load the checkpoint that ``fdir/checkpoint`` names.

    Args:
        fdir: folder of one model.
        model: takes the weights, strictly.
        optimizer: takes its state, if the file has one.
        scheduler: takes its state, if the file has one.

    Returns:
        How many epochs the checkpoint has seen, which is the index of the next one.
    """
    fpath = _noted(fdir)
    logger.info('Loading checkpoint from "%s"', fpath)
    checkpoint = load_to_cpu(fpath)
    model.load_state_dict(checkpoint["state_dict"])
    logger.info("Loaded model weights")
    for name, target in (("optimizer", optimizer), ("scheduler", scheduler)):
        if target is not None and checkpoint.get(name) is not None:
            target.load_state_dict(checkpoint[name])
            logger.info("Loaded %s", name)
    logger.info("Previous epoch: %s", checkpoint["epoch"])
    return checkpoint["epoch"]
