"""The state dict of another code base's checkpoint, and tokens out of it, before anything is computed with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caspl.convert.inert import read_inertly
from caspl.errors import CasPLError
from caspl.towers import CLIP
from caspl.towers.weights import first_difference

OPENAI_PREFIX = {"text_encoder.": "", "image_encoder.": "visual."}


@dataclass(frozen=True)
class State:
    """What a checkpoint in Dassl's layout holds.

    Args:
        path: the file.
        entries: of its state dict, by the names that its code base gave them.
        epoch: how many are finished; None where it does not tell.
    """

    path: Path
    entries: Mapping[str, Any]
    epoch: int | None

    @property
    def frozen(self) -> dict[str, Tensor]:
        """Tensors of the towers under OpenAI's names; none where they were not saved."""
        return {
            openai + key.removeprefix(prefix): value
            for prefix, openai in OPENAI_PREFIX.items()
            for key, value in self.entries.items()
            if key.startswith(prefix) and isinstance(value, Tensor)
        }

    def numbers(self, key: str, dims: Sequence[int] = (2,)) -> Tensor:
        """A tensor of the file, on the CPU, as it is.

        Args:
            key: its name.
            dims: how many dimensions it may have.

        Raises:
            CasPLError: it is none of numbers, is empty, claims to be larger than its file, or is not finite.
        """
        value = self.entries.get(key)
        # A hostile file can claim any size by strides of 0: nothing is computed before this is sure.
        plain = isinstance(value, Tensor) and value.is_floating_point() and value.is_contiguous()
        if not plain or value.dim() not in dims or value.numel() == 0:  # type: ignore[union-attr]
            kind = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            wanted = "numbers (tokens, width)" if tuple(dims) == (2,) else "numbers"
            raise CasPLError(f"{self.path} holds {kind} as {key}, where {wanted} belong")
        assert isinstance(value, Tensor)
        if not value.isfinite().all():
            raise CasPLError(f"{self.path} holds numbers in {key} that are not finite: that training has diverged")
        return value

    def layers(self, keys: Sequence[str]) -> Tensor:
        """Tokens of one tower, (depth, length, width), float32; a layer's are (length, width).

        Raises:
            CasPLError: one is not as it should be, see :meth:`numbers`, or they are not alike.
        """
        found = [self.numbers(key) for key in keys]
        for key, value in zip(keys, found, strict=True):
            if value.shape != found[0].shape:
                raise CasPLError(
                    f"{self.path} has {key} of shape {tuple(value.shape)} beside {keys[0]} of "
                    f"{tuple(found[0].shape)}: every layer of a tower has the same number of tokens"
                )
        return torch.stack([value.float() for value in found])

    def require_towers(self, student: str, clip: CLIP) -> tuple[int, int]:
        """Refuse a student that the frozen towers in the file are not those of.

        Returns:
            How many tensors of the student's were compared, and how many it has.

        Raises:
            CasPLError: naming the first difference.
        """
        frozen, weights = self.frozen, clip.openai_state_dict()
        key = first_difference(frozen, weights)
        if key is not None:
            raise CasPLError(
                f"{self.path} was made with another student than {student}: their {key} differ; "
                "name the right one with --student"
            )
        return len(frozen.keys() & weights.keys()), len(weights)


def read_state(path: str | Path) -> State:
    """Read a checkpoint that Dassl wrote, without running anything in it.

    Raises:
        CasPLError: if it is none, is damaged, or is this library's own.
    """
    path = Path(path)
    content = read_inertly(path)
    state = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise CasPLError(f"{path} is no checkpoint of Dassl: it has no state_dict; give CasPL/model.pth.tar-20")
    entries = {str(key).removeprefix("module."): value for key, value in state.items()}
    if any(".boosting." in key for key in entries):
        raise CasPLError(f"{path} is a checkpoint of this library: phase 2 takes it as it is")
    if "_extra_state" in entries:
        raise CasPLError(f"{path} is a checkpoint of this library: caspl.load takes it as it is")
    epoch = content.get("epoch")
    return State(path, entries, epoch if type(epoch) is int and epoch > 0 else None)
