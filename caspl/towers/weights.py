"""Read CLIP weights from a file, in full precision, without unpickling objects that the file may contain."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from caspl.errors import CasPLError, first_line
from caspl.files import write_atomically
from caspl.files.parse import parse_json
from caspl.towers.block import ACTIVATIONS

HALF = 2**-8  # relative distance of weights that were rounded to half precision, be it twice
NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "attn_mask")  # of archives and old exports
HEADER = "caspl.clip"
"""Metadata entry of a ``.safetensors`` file that says what its weights do not: JSON, activation and heads."""


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read an OpenAI-format state dict.

    Args:
        path: a TorchScript archive as OpenAI publishes it, a state dict saved by torch (plain, or under ``state_dict``
            or ``model``), or a ``.safetensors`` file.

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
        if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):
            raise CasPLError(
                f"{path} holds more than tensors and plain values, as a whole pickled model does: load it where you "
                "trust it, and save its state_dict()"
            ) from error
        raise CasPLError(
            f"{path} is not a CLIP weights file that can be read safely "
            f"(TorchScript archive, state dict or .safetensors): {first_line(error)}"
        ) from error
    for key, value in state.items():
        require_whole(str(path), key, value)
    return {key.removeprefix("module."): value for key, value in state.items() if key not in NO_WEIGHTS}


TYPES = {
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
}


def require_whole(file: str, name: str, value: Tensor) -> None:
    """Refuse a tensor that stands for more numbers than its file holds: looking at it would take all memory.

    Raises:
        CasPLError: naming file and tensor.
    """
    if value.layout != torch.strided or value.is_meta or value.dtype not in TYPES:
        raise CasPLError(f"{name} in {file} is {value.dtype}, {value.layout}: plain tensors of numbers are read")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise CasPLError(f"{name} in {file}, of shape {tuple(value.shape)}, is larger than its file: it is damaged")


def read_header(path: str | Path) -> dict[str, Any] | None:
    """What a ``.safetensors`` file says of its activation and heads; None where a file says nothing.

    Raises:
        CasPLError: if it says something that cannot be.
    """
    from safetensors import SafetensorError, safe_open

    if Path(path).suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(HEADER)
        if text is None:
            return None
        said = parse_json(text)
        activation, heads = str(said["activation"]), tuple(int(count) for count in said["heads"])
    except (OSError, SafetensorError) as error:
        raise CasPLError(f"{path} cannot be read: {first_line(error)}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CasPLError(f"{path} has a damaged header {HEADER}: {first_line(error)}") from error
    if activation not in ACTIVATIONS or len(heads) != 2:
        raise CasPLError(f"{path} has a damaged header {HEADER}: {text}")
    return {"activation": activation, "heads": heads}


def write_clip(path: str | Path, state_dict: Mapping[str, Tensor], activation: str, heads: tuple[int, int]) -> Path:
    """Write weights that say of themselves what a state dict does not.

    Args:
        heads: of the image and the text tower.
    """
    from safetensors.torch import save

    whole = save(dict(state_dict), {HEADER: json.dumps({"activation": activation, "heads": list(heads)})})
    return write_atomically(path, lambda temporary: Path(temporary).write_bytes(whole))


def is_archive(path: Path) -> bool:
    """Whether a file is a TorchScript archive, as OpenAI publishes its models."""
    return path.is_file() and _is_torchscript(path)


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
    if not isinstance(content, Mapping):
        raise ValueError("it holds no state dict")
    for wrapping in ("state_dict", "model"):
        content = content[wrapping] if isinstance(content.get(wrapping), Mapping) else content
    found = {key: value for key, value in content.items() if isinstance(value, Tensor) and isinstance(key, str)}
    if not found:
        raise ValueError("it holds no tensors by name")
    return found


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
