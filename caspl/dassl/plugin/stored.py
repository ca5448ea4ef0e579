"""The boosting tokens as a part of what a foreign trainer saves, loads and optimises."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from caspl.errors import CasPLError
from caspl.hooks.foreign import unwrapped
from caspl.prompts import Segment

logger = logging.getLogger(__name__)

STORED_AS = "caspl_boosting"
OF = "cascade_of"
"""``caspl_boosting.cascade_of.<X>`` in a checkpoint says whose cascade it is: by its name, and empty, since averages of
weights (PromptSRC's) go over the values."""


class BoostingTokens(nn.ModuleDict):
    """The boosting segments of both towers, a submodule of what the trainer registered.

    Args:
        segments: by tower.
        trainer: name of the trainer X that stands behind them; checkpoints say it.
    """

    def __init__(self, segments: dict[str, Segment], trainer: str) -> None:
        super().__init__(segments)
        self.trainer = trainer

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}{OF}.{self.trainer}"] = torch.empty(0)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if not any(key.startswith(prefix) for key in state_dict):
            raise CasPLError(
                "this checkpoint holds no boosting tokens: it is of a run without the cascade, so evaluate or resume "
                "it with the trainer itself, without CasPL_ and with TRAINER.CASPL.PHASE 0"
            )
        for key in [key for key in state_dict if key.startswith(f"{prefix}{OF}.")]:
            del state_dict[key]
            other = key.removeprefix(f"{prefix}{OF}.")
            if other != self.trainer:
                logger.warning("this checkpoint is of the cascade of %s, not of %s", other, self.trainer)
        for name, value in (*self.named_parameters(), *self.named_buffers()):
            found = state_dict.get(prefix + name, value)
            if found.shape != value.shape:
                raise CasPLError(
                    f"this checkpoint has boosting tokens {name} of shape {tuple(found.shape)}, this run's boosting "
                    f"file {tuple(value.shape)}: let TRAINER.CASPL.BOOSTING name the file that it was trained with"
                )
        super()._load_from_state_dict(state_dict, prefix, *args)


def store(trainer: Any, model: nn.Module, segments: dict[str, Segment]) -> BoostingTokens:
    """Add the tokens to the registered module that belongs to a model, and to its optimizer if they train.

    Raises:
        CasPLError: if they train, but no optimizer is there.
    """
    tokens = BoostingTokens(segments, trainer.cfg.TRAINER.NAME).to(next(model.parameters()).device)
    for segment in segments.values():
        if not segment.values.requires_grad:  # loops over parameters expect gradients of all (ProGrad)
            values = segment.values.data
            del segment.values
            segment.register_buffer("values", values)
    name = _home(trainer, model)
    home = model if name is None else unwrapped(trainer._models[name])
    home.add_module(STORED_AS, tokens)
    trained = [value for value in tokens.parameters() if value.requires_grad]
    if trained:
        optimizer = None if name is None else trainer._optims[name]
        if optimizer is None:
            raise CasPLError(
                f"TRAINER.CASPL.TRAINABLE is True, but {type(trainer).__name__} has registered no optimizer with its "
                "model: leave it False"
            )
        optimizer.param_groups[0]["params"] += trained
    return tokens


def _home(trainer: Any, model: nn.Module) -> str | None:
    """The registered name of the model, else of a part of it; containers would run what is put into them."""
    parts = {id(module) for module in model.modules()}
    fitting = [
        name
        for name in trainer.get_model_names()
        if id(unwrapped(trainer._models[name])) in parts
        and not isinstance(unwrapped(trainer._models[name]), nn.Sequential | nn.ModuleList | nn.ModuleDict)
    ]
    whole = [name for name in fitting if unwrapped(trainer._models[name]) is model]
    return next(iter((*whole, *fitting)), None)
