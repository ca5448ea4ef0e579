"""Where boosting files lie: phase 1 writes and phase 2 finds them by data set, student and seed."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from caspl.errors import CasPLError

logger = logging.getLogger(__name__)


def student_slug(student: str) -> str:
    """A student's name as a folder name: ``ViT-B/16`` -> ``vit_b_16``, a path -> its stem."""
    stem = Path(student).stem if Path(student).suffix else student
    return re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")


def boosting_path(
    root: str | Path, dataset: str, student: str, seed: int, text: tuple[int, int], vision: tuple[int, int]
) -> Path:
    """Canonical place of a boosting file: ``root/dataset/student/text8x12_vision8x12/seed1.safetensors``.

    Args:
        text, vision: (length, depth) of each tower.
    """
    sizes = f"text{text[0]}x{text[1]}_vision{vision[0]}x{vision[1]}"
    return Path(root) / dataset / student_slug(student) / sizes / f"seed{seed}.safetensors"


def find_boosting(
    root: str | Path, dataset: str, student: str, seed: int, text: tuple[int, int], vision: tuple[int, int]
) -> Path:
    """The boosting file of a data set, student and seed; sizes decide only where there are several.

    Raises:
        CasPLError: if there is none, or if there are several and none has the sizes asked for.
    """
    exact = boosting_path(root, dataset, student, seed, text, vision)
    if exact.is_file():
        return exact
    folder = exact.parent.parent
    found = sorted(folder.glob(f"*/seed{seed}.safetensors"))
    if len(found) == 1:
        logger.warning("%s has boosting tokens of other sizes than asked for (%s): taken", found[0], exact.parent.name)
        return found[0]
    if found:
        sizes = ", ".join(path.parent.name for path in found)
        raise CasPLError(f"{folder} holds boosting files of several sizes for seed {seed} ({sizes})")
    raise CasPLError(f"no boosting file for {dataset}, student {student}, seed {seed} below {folder}")
