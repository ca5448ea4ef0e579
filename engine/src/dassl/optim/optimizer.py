"""Optimizers by name."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from yacs.config import CfgNode

from .radam import RAdam

__all__ = ["AVAI_OPTIMS", "build_optimizer"]

AVAI_OPTIMS = ["adam", "amsgrad", "sgd", "rmsprop", "radam", "adamw"]


def build_optimizer(
    model: nn.Module | Iterable[Any] | None,
    optim_cfg: CfgNode,
    param_groups: Iterable[Any] | None = None,
) -> Optimizer:
    """Build the optimizer that ``optim_cfg.NAME`` asks for.

    Args:
        model: a module, all of whose parameters are taken, or parameters or parameter groups.
        optim_cfg: the section OPTIM.
        param_groups: parameter groups to use as they are, instead of ``model``.

    Raises:
        ValueError: an unknown name.
        TypeError: STAGED_LR is set and ``model`` is no module, or NEW_LAYERS is no name or list of names.
    """
    if optim_cfg.NAME not in AVAI_OPTIMS:
        raise ValueError(f"optim must be one of {AVAI_OPTIMS}, but got {optim_cfg.NAME}")
    if param_groups is not None and optim_cfg.STAGED_LR:
        warnings.warn("staged_lr will be ignored, if you need to use staged_lr, leave param_groups None", stacklevel=2)
    if param_groups is not None:
        params: Any = param_groups
    elif optim_cfg.STAGED_LR:
        params = _staged_groups(model, optim_cfg)
    else:
        params = model.parameters() if isinstance(model, nn.Module) else model
    return _construct(params, optim_cfg)


def _staged_groups(model: object, optim_cfg: CfgNode) -> list[dict[str, Any]]:
    if not isinstance(model, nn.Module):
        raise TypeError("When staged_lr is True, model given to build_optimizer() must be an instance of nn.Module")
    names = optim_cfg.NEW_LAYERS
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, (list, tuple)):
        raise TypeError(f"OPTIM.NEW_LAYERS must be a name or a list of names, but got {names!r}")
    if not names:
        warnings.warn("new_layers is empty (staged_lr is useless)", stacklevel=3)
    model = model.module if isinstance(model, nn.DataParallel) else model
    base: list[nn.Parameter] = []
    new: list[nn.Parameter] = []
    for name, child in model.named_children():
        (new if name in names else base).extend(child.parameters())
    return [{"params": base, "lr": optim_cfg.LR * optim_cfg.BASE_LR_MULT}, {"params": new}]


def _construct(params: Any, cfg: CfgNode) -> Optimizer:
    common = {"lr": cfg.LR, "weight_decay": cfg.WEIGHT_DECAY}
    betas = (cfg.ADAM_BETA1, cfg.ADAM_BETA2)
    if cfg.NAME in ("adam", "amsgrad"):
        return torch.optim.Adam(params, betas=betas, amsgrad=cfg.NAME == "amsgrad", **common)
    if cfg.NAME == "sgd":
        return torch.optim.SGD(
            params, momentum=cfg.MOMENTUM, dampening=cfg.SGD_DAMPNING, nesterov=cfg.SGD_NESTEROV, **common
        )
    if cfg.NAME == "rmsprop":
        return torch.optim.RMSprop(params, momentum=cfg.MOMENTUM, alpha=cfg.RMSPROP_ALPHA, **common)
    if cfg.NAME == "radam":
        return RAdam(params, betas=betas, **common)
    return torch.optim.AdamW(params, betas=betas, **common)
