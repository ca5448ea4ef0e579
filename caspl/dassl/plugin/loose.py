"""Towers whose parts are loose: a model that runs the blocks of a CLIP from a list of its own, without OpenAI's names.

Such a list is found by what is in it: its blocks have the student's weights, one after the other. What else the
boosting tokens need (positions, the norm before the blocks) is the student's own.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from caspl.hooks.foreign import ForeignTower
from caspl.towers import CLIP
from caspl.towers.weights import first_difference

PREFIX = {"image": "visual.transformer.resblocks", "text": "transformer.resblocks"}


@dataclass(frozen=True, eq=False)
class LooseTower(ForeignTower):
    """A list of blocks somewhere in a model; ``name`` and ``module`` are those of the module that holds it.

    Args:
        attribute: the list's name in it.
        parts: the blocks.
        clip: the student, whose weights they have.
        embeddings: modules that have the weights of the student's token embedding.
    """

    attribute: str
    parts: Sequence[nn.Module]
    clip: CLIP
    embeddings: Sequence[nn.Module] = ()

    @property
    def blocks(self) -> list[nn.Module]:
        return list(self.parts)

    @property
    def positional_embedding(self) -> Tensor:
        key = "visual.positional_embedding" if self.kind == "image" else "positional_embedding"
        return self.clip.openai_state_dict()[key].to(self._device)

    @property
    def norm(self) -> Any:
        if self.kind == "text":
            return None
        norm = self.clip.visual.ln_pre
        weight, bias, eps = norm.weight.detach().to(self._device), norm.bias.detach().to(self._device), norm.eps

        def apply(x: Tensor) -> Tensor:
            own = (weight.to(x.device).float(), bias.to(x.device).float())
            return F.layer_norm(x.float(), weight.shape, *own, eps).to(x.dtype)

        return apply

    @property
    def listeners(self) -> list[nn.Module]:
        return [self.module, *self.embeddings]

    def weights(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        expected = self.clip.openai_state_dict()
        for layer, block in enumerate(self.parts):
            found |= _named(block, f"{PREFIX[self.kind]}.{layer}.", expected)
        return found

    @property
    def _device(self) -> torch.device:
        return next(self.parts[0].parameters()).device

    def __str__(self) -> str:
        return f"the {self.kind} tower's blocks {self.path} ({type(self.module).__name__})"

    @property
    def path(self) -> str:
        return f"{self.name}.{self.attribute}" if self.name else self.attribute


def find_loose(model: nn.Module, kind: str, clip: CLIP, known: Container[int] = ()) -> list[LooseTower]:
    """Lists of a student's blocks in a model, the outermost first; the same blocks count once.

    Args:
        model: that is searched: its modules, and lists that they hold as attributes.
        kind: ``image`` or ``text``.
        clip: the student.
        known: identities of blocks whose lists are passed over.
    """
    expected = clip.openai_state_dict()
    start = PREFIX[kind] + "."
    layers = len({key.removeprefix(start).split(".")[0] for key in expected if key.startswith(start)})
    token = expected["token_embedding.weight"]
    embeddings = [
        module
        for module in model.modules()
        if isinstance(module, nn.Embedding) and _same({"": module.weight}, {"": token})
    ]
    found: dict[int, LooseTower] = {}
    for name, module in sorted(model.named_modules(), key=lambda item: item[0].count(".") + bool(item[0])):
        for attribute, parts in _lists(module):
            if id(parts[0]) not in known and len(parts) == layers and _are_blocks(parts, PREFIX[kind], expected):
                tower = LooseTower(kind, name, module, attribute, parts, clip, embeddings)
                found.setdefault(id(parts[0]), tower)
    return list(found.values())


def _lists(module: nn.Module) -> Iterator[tuple[str, list[nn.Module]]]:
    """What a module holds under a name that is a list of modules."""
    for name, value in (*vars(module).items(), *module._modules.items()):
        if isinstance(value, list | tuple | nn.ModuleList | nn.Sequential):
            parts = list(value)
            if parts and all(isinstance(part, nn.Module) for part in parts):
                yield name, parts


def _are_blocks(parts: Sequence[nn.Module], prefix: str, expected: dict[str, Tensor]) -> bool:
    for layer, block in enumerate(parts):
        own = {key: value for key, value in expected.items() if key.startswith(f"{prefix}.{layer}.")}
        found = _named(block, f"{prefix}.{layer}.", own)
        if found.keys() != own.keys() or not _same(found, own):
            return False
    return True


def _named(block: nn.Module, prefix: str, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a block, or of the one that it wraps, under OpenAI's names."""
    state = block.state_dict()
    names = [key.removeprefix(prefix) for key in expected if key.startswith(prefix)]
    pairs = ((name, key) for name in names for key in state if f".{key}".endswith(f".{name}"))
    return {prefix + name: state[key] for name, key in pairs}


def _same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    shapes = all(value.shape == expected[key].shape for key, value in found.items())
    return shapes and first_difference(found, expected) is None
