"""The checkpoints of the CasPL authors' code (``CasPL/model.pth.tar-20``): boosting tokens under its key names.

First layer: ``prompt_learner_teacher.ctx`` (text), ``image_encoder.VPT_FIRST``; later ones:
``<tower>.transformer.resblocks.<1, 2, ...>.VPT_shallow_FIRST``; each (length, width). Both phases use these keys. The
frozen towers lie beside them, under OpenAI's names behind ``text_encoder.`` and ``image_encoder.``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caspl.boosting.file import require_towers
from caspl.convert.inert import read_inertly
from caspl.errors import CasPLError, advising
from caspl.towers import CLIP
from caspl.towers.weights import first_difference

FIRST_LAYER = {"text_encoder": "prompt_learner_teacher.ctx", "image_encoder": "image_encoder.VPT_FIRST"}
OPENAI_PREFIX = {"text_encoder.": "", "image_encoder.": "visual."}
PHASE_2 = "prompt_learner."  # the adapting tokens


@dataclass(frozen=True)
class Released:
    """What is read from a checkpoint of the release.

    Args:
        path: the file.
        text, vision: boosting tokens, (depth, length, width), float32.
        frozen: tensors of the student's towers, OpenAI's key names; may be empty.
        epochs: of phase 1; None where the file does not tell (one of phase 2 counts that phase's).
    """

    path: Path
    text: Tensor
    vision: Tensor
    frozen: Mapping[str, Tensor]
    epochs: int | None

    def require_student(self, student: str, clip: CLIP) -> tuple[int, int]:
        """Refuse a student that the tokens do not fit or that the frozen towers are not those of.

        Returns:
            How many tensors of the student's were compared, and how many it has.

        Raises:
            CasPLError: naming the first difference.
        """
        with advising(f"that is {student}: name another student with --student"):
            require_towers(str(self.path), self.text, self.vision, clip)
        weights = clip.openai_state_dict()
        key = first_difference(self.frozen, weights)
        if key is not None:
            raise CasPLError(
                f"{self.path} was made with another student than {student}: their {key} differ; "
                "name the right one with --student"
            )
        return len(self.frozen.keys() & weights.keys()), len(weights)


def read_released(path: str | Path) -> Released:
    """Read a checkpoint of either phase.

    Raises:
        CasPLError: if it is no such checkpoint, or a damaged one.
    """
    path = Path(path)
    content = read_inertly(path)
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise CasPLError(f"{path} is no checkpoint of Dassl: it has no state_dict; give CasPL/model.pth.tar-20")
    state = {str(key).removeprefix("module."): value for key, value in state.items()}
    if any(".boosting." in key for key in state):
        raise CasPLError(f"{path} is a checkpoint of this library: phase 2 takes it as it is")
    if not any(_boosting_keys(state, tower) for tower in FIRST_LAYER):
        shown = [*sorted(state)[:3], *["..."] * (len(state) > 3)]
        raise CasPLError(
            f"{path} holds no boosting tokens ({', '.join(FIRST_LAYER.values())}), "
            f"only {', '.join(shown) or 'nothing'}; give phase 1's checkpoint, CasPL/model.pth.tar-20"
        )
    text, vision = (_tokens(path, state, tower) for tower in FIRST_LAYER)
    frozen = {
        openai + key.removeprefix(prefix): value
        for prefix, openai in OPENAI_PREFIX.items()
        for key, value in state.items()
        if key.startswith(prefix) and isinstance(value, Tensor)
    }
    epoch = content.get("epoch")
    known = type(epoch) is int and epoch > 0 and not any(key.startswith(PHASE_2) for key in state)
    return Released(path, text, vision, frozen, epoch if known else None)


def _boosting_keys(state: Mapping[str, Any], tower: str) -> set[str]:
    """All keys of a tower's boosting tokens."""
    return {
        key
        for key in state
        if key == FIRST_LAYER[tower] or (key.startswith(f"{tower}.") and key.endswith(".VPT_shallow_FIRST"))
    }


def _tokens(path: Path, state: Mapping[str, Any], tower: str) -> Tensor:
    """A tower's tokens, (depth, length, width), float32."""
    found = _boosting_keys(state, tower)
    later = (f"{tower}.transformer.resblocks.{layer}.VPT_shallow_FIRST" for layer in range(1, len(found)))
    keys = [FIRST_LAYER[tower], *later]
    if found != set(keys):
        raise CasPLError(
            f"{path} lacks boosting tokens: beside {', '.join(sorted(found)) or 'the other tower'} there is no "
            f"{next(key for key in keys if key not in found)}; take the file from its origin again"
        )
    for key in keys:
        value = state[key]
        # A hostile file can claim any size by strides of 0: nothing is computed before this is sure.
        plain = isinstance(value, Tensor) and value.is_floating_point() and value.is_contiguous()
        if not plain or value.dim() != 2 or value.numel() == 0:
            kind = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise CasPLError(f"{path} holds {kind} as {key}, where numbers (tokens, width) belong")
        if value.shape != state[keys[0]].shape:
            raise CasPLError(
                f"{path} has {key} of shape {tuple(value.shape)} beside {keys[0]} of {tuple(state[keys[0]].shape)}: "
                "a boosting file has the same number of tokens in every layer of a tower"
            )
        if not value.isfinite().all():
            raise CasPLError(f"{path} holds numbers in {key} that are not finite: that phase 1 has diverged")
    return torch.stack([state[key].float() for key in keys])
