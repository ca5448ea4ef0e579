"""Helpers around models: pretrained weights, parameter counts, freezing, initialisation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from .checkpoint import load_to_cpu, strip_module_prefix
from .logger import logger

__all__ = [
    "count_num_param",
    "init_network_weights",
    "load_pretrained_weights",
    "open_all_layers",
    "open_specified_layers",
]


def load_pretrained_weights(model: nn.Module, weight_path: str) -> None:
    """Load the weights of a file that fit the model by name and size; the others are listed.

    Args:
        model: the model.
        weight_path: a checkpoint or a bare state dict; one leading "module." of a key is taken off.
    """
    checkpoint = load_to_cpu(weight_path)
    given = strip_module_prefix(checkpoint.get("state_dict", checkpoint))
    own = model.state_dict()
    fitting = {key: value for key, value in given.items() if key in own and own[key].size() == value.size()}
    if not fitting:
        warnings.warn(f"Cannot load {weight_path} (check the key names manually)", stacklevel=2)
        return
    model.load_state_dict({**own, **fitting})
    logger.info("Successfully loaded pretrained weights from %s", weight_path)
    discarded = [key for key in given if key not in fitting]
    if discarded:
        logger.info("Layers discarded due to unmatched keys or size: %s", discarded)


def count_num_param(
    model: nn.Module | None = None, params: Tensor | Iterable[Tensor | dict[str, Any]] | None = None
) -> int:
    """Count the numbers in a model, or in a list of parameters.

    Args:
        model: the model to count.
        params: one tensor or several; a dictionary counts by what it has under "params".

    Raises:
        ValueError: both are None.
    """
    if model is not None:
        return sum(param.numel() for param in model.parameters())
    if params is None:
        raise ValueError("model and params must provide at least one.")
    return _numel(params)


def _numel(params: Any) -> int:
    if isinstance(params, Tensor):
        return params.numel()
    if isinstance(params, dict):
        return _numel(params["params"])
    return sum(_numel(param) for param in params)


def open_all_layers(model: nn.Module) -> None:
    """Put the whole model into train mode and let all its parameters learn."""
    model.train()
    for param in model.parameters():
        param.requires_grad = True


def open_specified_layers(model: nn.Module, open_layers: str | Iterable[str]) -> None:
    """Let the named direct children learn, and freeze all others in eval mode.

    Args:
        model: the model, or its DataParallel wrapper.
        open_layers: name or names of direct children.

    Raises:
        ValueError: a name is no child of the model.
    """
    model = model.module if isinstance(model, nn.DataParallel) else model
    names = {open_layers} if isinstance(open_layers, str) else set(open_layers)
    children = dict(model.named_children())
    for name in names - children.keys():
        raise ValueError(f'"{name}" is not a child of the model; its children are {list(children)}')
    for name, child in children.items():
        child.train(name in names)
        for param in child.parameters():
            param.requires_grad = name in names


def init_network_weights(model: nn.Module, init_type: str = "normal", gain: float = 0.02) -> None:
    """Initialise convolutions and linear layers anew; norms become the identity.

    Args:
        model: the model.
        init_type: normal, xavier, kaiming or orthogonal.
        gain: standard deviation of normal, gain of xavier and orthogonal.
    """
    rules: dict[str, Callable[[Tensor], Tensor]] = {
        "normal": lambda weight: nn.init.normal_(weight, 0.0, gain),
        "xavier": lambda weight: nn.init.xavier_normal_(weight, gain=gain),
        "kaiming": lambda weight: nn.init.kaiming_normal_(weight, a=0, mode="fan_in"),
        "orthogonal": lambda weight: nn.init.orthogonal_(weight, gain=gain),
    }
    if init_type not in rules:
        raise NotImplementedError(f"init_type must be one of {list(rules)}, but got {init_type}")
    norms = (nn.modules.batchnorm._BatchNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
    layers = (nn.Linear, nn.modules.conv._ConvNd)
    for module in model.modules():
        if isinstance(module, layers):
            rules[init_type](module.weight)
        elif isinstance(module, norms) and module.weight is not None:
            nn.init.ones_(module.weight)
        if isinstance(module, (*layers, *norms)) and module.bias is not None:
            nn.init.zeros_(module.bias)
