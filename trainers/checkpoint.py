"""Read a trainer's checkpoint: segments alone, and nothing but segments of the same method."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from caspl.errors import CasPLError
from dassl.utils import load_checkpoint


def load_segments(folder: Path, epoch: int | None, segments: nn.Module, trainer: str) -> None:
    """Load the tokens of a checkpoint into ``segments``.

    Args:
        folder: ``<run>/<saved_as>``.
        epoch: which checkpoint; None takes the best on validation data if there is one, else the last.

    Raises:
        CasPLError: if there is no such checkpoint, or if it is another method's or of other sizes.
    """
    path = _checkpoint(folder, epoch)
    try:
        found = load_checkpoint(str(path))["state_dict"]
    except Exception as error:  # every reader has its own exceptions for a broken file
        raise CasPLError(f"the checkpoint {path} is broken: {str(error).splitlines()[0]}") from error
    expected = segments.state_dict()
    if set(found) != set(expected):
        raise CasPLError(
            f"{path} is no checkpoint of {trainer}: it holds {', '.join(sorted(found)) or 'nothing'}, "
            f"expected are {', '.join(sorted(expected))}"
        )
    for name, value in expected.items():
        if found[name].shape != value.shape:
            raise CasPLError(
                f"{path} has {name} of shape {tuple(found[name].shape)}, this run's is {tuple(value.shape)}; "
                "use the config that it was trained with"
                + (" (class-specific tokens cannot be moved to other classes)" if value.dim() == 4 else "")
            )
    segments.load_state_dict(found)


def _checkpoint(folder: Path, epoch: int | None) -> Path:
    if epoch is not None:
        path = folder / f"model.pth.tar-{epoch}"
    else:
        path = folder / "model-best.pth.tar"
        pointer = folder / "checkpoint"
        if not path.is_file() and pointer.is_file():
            path = folder / pointer.read_text().strip()
    if not path.is_file():
        raise CasPLError(f"no checkpoint at {path}; check --model-dir and --load-epoch")
    return path
