"""Weight files of the tiny models: half precision, and of the token table only the rows that are used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from caspl.errors import CasPLError
from caspl.files import write_atomically

TABLE = "token_embedding.weight"
ROWS = "token_embedding.rows"
VOCABULARY = 49408


def write(path: Path, state: Mapping[str, Tensor], known: Tensor) -> Path:
    """Write an OpenAI-format state dict whose token table holds only the rows `known` of CLIP's vocabulary."""
    half = {key: value.detach().half().contiguous() for key, value in state.items()}
    half[ROWS] = known.to(torch.int32)
    return write_atomically(path, lambda temporary: Path(temporary).write_bytes(save(half)))


def read(path: Path) -> dict[str, Tensor]:
    """Read such a file: OpenAI's format in float32, with the whole token table; rows that are not used are zero.

    Raises:
        CasPLError: if the file is missing or broken.
    """
    try:
        state = load_file(path)
        rows = state.pop(ROWS).long()
        used = state[TABLE].float()
        table = torch.zeros(VOCABULARY, used.shape[1])
        table[rows] = used
    except (OSError, SafetensorError, KeyError, IndexError) as error:
        raise CasPLError(f"{path} is not a weights file of the tiny benchmark: {error}") from error
    return {key: value.float() for key, value in state.items()} | {TABLE: table}
