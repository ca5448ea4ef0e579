"""The boosting tokens as a part of what a foreign trainer saves, loads and optimises."""

from __future__ import annotations

from typing import Any

from torch import nn

from caspl.errors import CasPLError
from caspl.hooks.foreign import unwrapped
from caspl.prompts import Segment

STORED_AS = "caspl_boosting"


class BoostingTokens(nn.ModuleDict):
    """The boosting segments of both towers, a submodule of what the trainer registered."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if not any(key.startswith(prefix) for key in state_dict):
            raise CasPLError(
                "this checkpoint holds no boosting tokens: it is of a run without the cascade, so evaluate or resume "
                "it with the trainer itself, without CasPL_"
            )
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
    tokens = BoostingTokens(segments).to(next(model.parameters()).device)
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
