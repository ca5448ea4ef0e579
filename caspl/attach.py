"""Boosting tokens in a CLIP that somebody else's library built and runs: open_clip's, or transformers'.

The towers' blocks are hooked, as the plug-in does it (:mod:`caspl.hooks`): nothing of the model is
changed, and :meth:`Attached.remove` takes the tokens out again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from caspl.boosting.file import BoostingFile, read_boosting
from caspl.errors import CasPLError
from caspl.hooks.foreign import ForeignTower, find_towers
from caspl.hooks.insertion import Insertion
from caspl.hub import local
from caspl.prompts import Segment
from caspl.towers import CLIP
from caspl.zoo.huggingface import is_huggingface, openai_weights
from caspl.zoo.identity import weights_hash
from caspl.zoo.published import read_model
from caspl.zoo.weights import Weights

START = 1
"""Place of the boosting tokens in a text: behind the start token, as phase 1 has learned them."""


@dataclass
class Attached:
    """Boosting tokens that take part in a model.

    Args:
        file: that they come from; ``file.header`` says what they were learned on.
        handles: of the hooks.
    """

    file: BoostingFile
    handles: list[RemovableHandle]

    def remove(self) -> None:
        """Take them out: the model computes what it did before."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()


def attach(model: nn.Module, boosting_file: str | Path) -> Attached:
    """Let a boosting file's tokens take part in a CLIP of open_clip's or transformers'.

    Its ``encode_image`` and ``encode_text`` (``get_image_features``, ``get_text_features``) then give what the boosted
    student does. Texts are the class name and a full stop, ``"forest."``: the tokens, which stand before it, have taken
    the place of the words of a template.

    Args:
        model: the student that the tokens were made for, with the same weights; on any device, in any precision to
            which it was brought from float32 or float16.
        boosting_file: as phase 1 writes it; also ``hf://owner/name``.

    Raises:
        CasPLError: another student, a model that is not understood, or one that has tokens already.
    """
    file = read_boosting(local(boosting_file))
    before = vars(model).get("_caspl_attached")
    if before is not None and before.handles:
        raise CasPLError("this model has boosting tokens already: call remove() on what attach() gave")
    if any(value.dtype == torch.bfloat16 for value in model.parameters()):
        raise CasPLError("weights in bfloat16 do not tell which student this is: attach first, then cast")
    weights, towers = _understood(model)
    clip = CLIP.from_state_dict(weights.state_dict, weights.activation, weights.heads)
    file.require_student(type(model).__name__, weights_hash(clip))
    file.require_towers(clip)
    handles: list[RemovableHandle] = []
    for tower in towers:
        values = file.vision if tower.kind == "image" else file.text
        if values is None:
            continue
        insertion = Insertion(tower, Segment("boosting", values, False), START if tower.kind == "text" else None)
        for layer, block in enumerate(tower.blocks):
            handles.append(block.register_forward_pre_hook(partial(insertion.enter, layer), with_kwargs=True))
            handles.append(block.register_forward_hook(partial(insertion.leave, layer), prepend=True))
        if tower.kind == "text":
            handles += _guarded(tower, values.shape[1])
    made = Attached(file, handles)
    object.__setattr__(model, "_caspl_attached", made)  # no part of the model: neither saved nor moved
    return made


def _understood(model: nn.Module) -> tuple[Weights, list[ForeignTower]]:
    """Its weights in OpenAI's format, and its towers."""
    if is_huggingface(model):
        return openai_weights(model), [_Hugging(kind, f"{kind}_model", model) for kind in ("image", "text")]
    towers = [tower for kind in ("image", "text") for tower in find_towers(model, kind)[:1]]
    weights = read_model(deepcopy(model).float().cpu().eval()) if len(towers) == 2 else None
    if weights is None:
        raise CasPLError(
            f"{type(model).__name__} is not understood: expected is a CLIP of the classic layout, as open_clip's "
            "create_model or transformers' CLIPModel.from_pretrained give it"
        )
    return weights, towers


class _Hugging(ForeignTower):
    """A tower of transformers', under the names that an insertion asks for."""

    @property
    def _part(self) -> Any:
        return self.module.vision_model if self.kind == "image" else self.module.text_model

    @property
    def blocks(self) -> list[nn.Module]:
        return list(self._part.encoder.layers)

    @property
    def positional_embedding(self) -> Tensor:
        weight: Tensor = self._part.embeddings.position_embedding.weight
        return weight

    @property
    def norm(self) -> Any:
        return getattr(self._part, "pre_layrnorm", None)

    @property
    def embedding(self) -> nn.Module:
        found: nn.Module = self._part.embeddings.token_embedding
        return found


def _guarded(tower: ForeignTower, length: int) -> Iterable[RemovableHandle]:
    """Hooks that refuse texts without room for the tokens, and make transformers' texts of one length."""
    positions = tower.positional_embedding.shape[0]

    room = partial(_require_room, positions, length)
    if isinstance(tower, _Hugging):
        part: nn.Module = tower._part
        yield part.register_forward_pre_hook(partial(_whole, positions), with_kwargs=True)
        yield tower.embedding.register_forward_pre_hook(room)
    else:
        embedding: Any = tower.module.token_embedding
        yield embedding.register_forward_pre_hook(room)


def _require_room(positions: int, length: int, module: nn.Module, args: tuple[Any, ...]) -> None:
    """Hook of the embedding: refuse a text that would lose its end; the end token has the largest number of all."""
    if args and bool((args[0].argmax(dim=-1) >= positions - length).any()):
        raise CasPLError(
            f"a text of more than {positions - length} tokens does not fit: {length} boosting tokens go before it, "
            f"and there are {positions} positions"
        )


def _whole(positions: int, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Hook of transformers' text tower: texts of all positions.

    Padding is behind the end token, where a causal tower reads nothing, so that no mask is needed for it.
    """
    named = dict(zip(("input_ids", "attention_mask", "position_ids"), args, strict=False)) | dict(kwargs)
    ids = named.get("input_ids")
    if isinstance(ids, Tensor) and ids.shape[-1] < positions:
        named |= {"input_ids": F.pad(ids, (0, positions - ids.shape[-1])), "position_ids": None}
    return (), named | {"attention_mask": None}
