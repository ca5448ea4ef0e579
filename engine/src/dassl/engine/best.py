"""The best weights of a run by validation, as they lie in its folder."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..utils.atomic import atomic_write, copy_whole
from ..utils.checkpoint import BEST_NAME, load_to_cpu
from ..utils.logger import logger

__all__ = ["bring_best", "read_best_result"]


def read_best_result(directory: str, names: Sequence[str]) -> float | None:
    """Return the validation result of a run's best models.

    Args:
        directory: the output folder of the run.
        names: its models.

    Returns:
        The result; None if a model has no best file, or no result is noted in it.
    """
    paths = _paths(directory, names)
    if not all(os.path.isfile(path) for path in paths):
        return None
    results = [load_to_cpu(path).get("val_result") for path in paths]
    noted = [float(result) for result in results if result is not None]
    # A kill between two files leaves models of two epochs. They do not belong together: replace them soon.
    return min(noted) if len(noted) == len(paths) else None


def bring_best(source: str, target: str, names: Sequence[str]) -> None:
    """Copy the best models of one run into the folder of another; nothing happens unless each model has one.

    Args:
        source: the output folder of the run that has them.
        target: the output folder of the run that goes on.
        names: the models.
    """
    paths = _paths(source, names)
    if os.path.realpath(source) == os.path.realpath(target) or not all(os.path.isfile(path) for path in paths):
        return
    for name, path in zip(names, paths, strict=True):
        folder = os.path.join(target, name)
        os.makedirs(folder, exist_ok=True)
        copy_whole(path, os.path.join(folder, BEST_NAME))
        note = os.path.join(folder, "checkpoint")
        # Who resumes from a folder with files in it expects this one.
        if not os.path.exists(note):
            with atomic_write(note, "w") as file:
                file.write(f"{BEST_NAME}\n")
    logger.info("Copied the best model so far from %s", source)


def _paths(directory: str, names: Sequence[str]) -> list[str]:
    return [os.path.join(directory, name, BEST_NAME) for name in names]
