"""EuroSAT's layout filled with real pictures: scikit-learn's handwritten digits, one digit for each land use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from datasets.eurosat import EuroSAT


def write_eurosat_digits(root: Path, per_class: int) -> Path:
    """Write ``root/eurosat/2750/<class>/<class>_<k>.jpg``, 64 x 64 as in EuroSAT, and no split file.

    Args:
        root: the data root.
        per_class: images a class, at most 174.

    Returns:
        The folder of the data set.
    """
    digits = load_digits()
    folder = root / EuroSAT.dataset_dir
    for digit, name in enumerate(EuroSAT.names):
        images = digits.images[digits.target == digit]
        if per_class > len(images):
            raise ValueError(f"there are {len(images)} pictures of the digit {digit}, not {per_class}")
        target = folder / EuroSAT.image_folder / name
        target.mkdir(parents=True)
        for number, pixels in enumerate(images[:per_class], start=1):
            image = Image.fromarray((pixels * (255 / 16)).astype(np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
            image.convert("RGB").save(target / f"{name}_{number}.jpg", quality=95)
    return folder
