"""Training images that are looked at without labels: those of another data set, or all of this one's."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader
from yacs.config import CfgNode

from caspl.errors import CasPLError
from dassl.data.data_manager import build_data_loader
from dassl.data.datasets import DATASET_REGISTRY, build_dataset
from dassl.data.transforms import build_transform

Loader = DataLoader[dict[str, Any]]


def images_of(name: str, cfg: CfgNode) -> Loader:
    """The training images of another data set below the same root, loaded as those of this one would be.

    Raises:
        CasPLError: for an unknown data set, or one without training images.
    """
    names = DATASET_REGISTRY.registered_names()
    if name not in names:
        there = ", ".join(sorted(names))
        raise CasPLError(f"TRAINER.CASPL.IMAGES is empty or the name of a data set, not {name!r}; there are {there}")
    dataset = _whole(cfg, name, cfg.DATASET.NUM_SHOTS)
    if getattr(dataset, "test_only", False):
        raise CasPLError(f"TRAINER.CASPL.IMAGES {name} has test images only; name a data set with training images")
    return _loader(cfg, dataset)


def training_images(cfg: CfgNode, shots: int = -1) -> tuple[list[str], Loader]:
    """The names of all classes of a config's data set, whatever subset of them it tests, and their training images.

    Args:
        shots: images a class, by the config's seed; below 1: all.
    """
    dataset = _whole(cfg, cfg.DATASET.NAME, shots)
    return list(dataset.classnames), _loader(cfg, dataset)


def _whole(cfg: CfgNode, name: str, shots: int) -> Any:
    other = cfg.clone()
    other.defrost()
    other.DATASET.NAME, other.DATASET.NUM_SHOTS = name, shots
    if "SUBSAMPLE_CLASSES" in other.DATASET:
        other.DATASET.SUBSAMPLE_CLASSES = "all"
    return build_dataset(other)


def _loader(cfg: CfgNode, dataset: Any) -> Loader:
    section = cfg.DATALOADER.TRAIN_X
    transform = build_transform(cfg, is_train=True)
    return build_data_loader(cfg, section.SAMPLER, dataset.train_x, section.BATCH_SIZE, tfm=transform)
