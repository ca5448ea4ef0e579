"""Read CLIP weights from a file, in full precision, without unpickling objects that the file may contain."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caspl.errors import CasPLError, first_line

HALF = 2**-8  # relative distance of weights that were rounded to half precision, be it twice
ARCHIVE_SCALARS = ("input_resolution", "context_length", "vocab_size")


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read an OpenAI-format state dict.

    Args:
        path: a TorchScript archive as OpenAI publishes it, a plain (or ``{"state_dict": ...}``) state dict
            saved by torch, or a ``.safetensors`` file.

    Returns:
        OpenAI's keys -> tensors on the CPU, in the precision of the file.

    Raises:
        CasPLError: if the file is missing or is none of these.
    """
    path = Path(path)
    if not path.is_file():
        raise CasPLError(f"no weights file at {path}")
    try:
        state = _read(path)
    except Exception as error:  # every reader has its own exceptions for a broken file
        raise CasPLError(
            f"{path} is not a CLIP weights file that can be read safely "
            f"(TorchScript archive, state dict or .safetensors): {first_line(error)}"
        ) from error
    return {key.removeprefix("module."): value for key, value in state.items() if key not in ARCHIVE_SCALARS}


def first_difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str | None:
    """The first name whose tensors differ by more than rounding to half precision, among those that both have."""
    for key in sorted(found.keys() & expected.keys()):
        theirs, ours = found[key].detach().to("cpu", torch.float32), expected[key].detach().to("cpu", torch.float32)
        # Asked this way round, a tensor that is not finite differs too.
        if theirs.shape != ours.shape or not (theirs - ours).norm() <= HALF * ours.norm():
            return key
    return None


def _read(path: Path) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if _is_torchscript(path):
        with warnings.catch_warnings():
            # Deprecated as a way to run models; it stays the reader of OpenAI's files.
            warnings.filterwarnings("ignore", message=".*torch.jit.*")
            return torch.jit.load(str(path), map_location="cpu").state_dict()
    content: Any = torch.load(path, map_location="cpu", weights_only=True)
    content = content.get("state_dict", content)
    return {key: value for key, value in content.items() if isinstance(value, Tensor)}


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
