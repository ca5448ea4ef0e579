"""The loaders of a run, built from the configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader
from yacs.config import CfgNode

from ..utils.device import configured_device
from ..utils.logger import logger
from ..utils.ranks import rank_and_world
from .batch import collate
from .datasets.base_dataset import Datum
from .datasets.build import build_dataset
from .repeatable import RepeatableSampler, repeats
from .samplers import build_sampler
from .sharded import BlockSampler, SlicedBatches
from .tensor_wrapper import TensorWrapper
from .transforms import INTERPOLATION_MODES, build_transform
from .transforms.kit import on_tensors
from .transforms.tensor import TensorTransform
from .wrapper import DatasetWrapper

__all__ = [
    "INTERPOLATION_MODES",
    "DataManager",
    "DatasetWrapper",
    "build_data_loader",
    "build_dataset",
    "build_transform",
]


class _CachingLoader(DataLoader[dict[str, Any]]):
    """Lets the images be cached when they are first asked for, before the workers start."""

    def __iter__(self) -> Any:
        self.dataset.open_cache()  # type: ignore[attr-defined]
        return super().__iter__()


def build_data_loader(
    cfg: CfgNode,
    sampler_type: str = "SequentialSampler",
    data_source: Sequence[Datum] | None = None,
    batch_size: int = 64,
    n_domain: int = 0,
    n_ins: int = 2,
    tfm: Any = None,
    is_train: bool = True,
    dataset_wrapper: Callable[..., Any] | None = None,
    role: str = "",
) -> DataLoader[dict[str, Any]]:
    """Build a loader over image records.

    In training the last, incomplete batch is dropped, unless it is the only one. Order and random numbers follow
    from SEED, epoch, image and ``role``, for any number of workers; with DATALOADER.SEEDED off they come from
    torch's stream, if INPUT.BACKEND is "pil" and there is one process.

    In a run of several processes (torch.distributed) each has its part of the images: a slice of every training batch,
    one block of the images of a test; see :mod:`.sharded`. Tests there have batches of ``batch_size`` in each process.

    Args:
        cfg: the configuration.
        sampler_type: name of the sampler.
        data_source: the images.
        batch_size: images a batch.
        n_domain: domains a batch, for the domain samplers.
        n_ins: images of each class in a batch, for the class sampler.
        tfm: transform or transforms.
        is_train: whether the loader serves training.
        dataset_wrapper: a class to use instead of :class:`DatasetWrapper`.
        role: tells loaders of a run apart that shall draw independently.

    Raises:
        AssertionError: there is no image.
        ValueError: an unknown sampler or backend, or settings of the cache that do not fit together.
    """
    if not data_source:
        raise AssertionError("there is no image to load: the split is empty")
    sampler = build_sampler(
        sampler_type, cfg=cfg, data_source=data_source, batch_size=batch_size, n_domain=n_domain, n_ins=n_ins
    )
    rank, world = rank_and_world()
    if repeats(cfg):
        # Without a seed of its own the run has the one that torch began with.
        sampler = RepeatableSampler(sampler, cfg.SEED if cfg.SEED >= 0 else torch.initial_seed(), role)
    wrapper = dataset_wrapper or _wrapper_for(tfm)
    dataset = wrapper(cfg, data_source, transform=tfm, is_train=is_train)
    drop_last = is_train and len(data_source) >= batch_size
    batches: dict[str, Any] = {"batch_size": batch_size, "sampler": sampler, "drop_last": drop_last}
    if world > 1 and is_train:
        batches = {"batch_sampler": SlicedBatches(sampler, batch_size, drop_last, rank, world)}
    elif world > 1:
        batches["sampler"] = BlockSampler(sampler, rank, world)
    loader: DataLoader[dict[str, Any]] = (_CachingLoader if _cached(cfg, dataset) else DataLoader)(
        dataset,
        **batches,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=collate if isinstance(dataset, TensorWrapper) else None,
        pin_memory=configured_device(cfg).type == "cuda",
        **(_kept(cfg) if is_train and repeats(cfg) else {}),
    )
    if len(loader) == 0 and (is_train or world == 1):
        raise AssertionError(f"{sampler_type} yields no batch of {batch_size} from {len(data_source)} images")
    return loader


def _kept(cfg: CfgNode) -> dict[str, Any]:
    """Workers that stay from epoch to epoch: few-shot epochs are shorter than their start.

    Only where what is drawn for an image comes with its index. Else it follows from a worker's own state, which would
    go on from epoch to epoch, and which a resumed run could not go back to. For the same reason a pass that begins
    draws nothing from the global generator: a first one would, and later ones would not.
    """
    workers = cfg.DATALOADER.NUM_WORKERS
    return {"persistent_workers": workers > 0, "generator": torch.Generator()}


def _wrapper_for(tfm: Any) -> Callable[..., Any]:
    tfms = tfm if isinstance(tfm, (list, tuple)) else [tfm]
    return TensorWrapper if tfms and all(isinstance(each, TensorTransform) for each in tfms) else DatasetWrapper


def _cached(cfg: CfgNode, dataset: Any) -> bool:
    if cfg.DATALOADER.CACHE_BYTES <= 0:
        if cfg.DATALOADER.CACHE_SHORT_SIDE > 0:
            raise ValueError("DATALOADER.CACHE_SHORT_SIDE needs DATALOADER.CACHE_BYTES above 0")
        return False
    if not on_tensors(cfg):
        raise ValueError("DATALOADER.CACHE_BYTES needs INPUT.BACKEND tensor")
    if not isinstance(dataset, TensorWrapper):
        logger.info("Note: no image cache, since PIL reads these images")
    return isinstance(dataset, TensorWrapper)


class DataManager:
    """The data set of a run with its loaders.

    ``train_loader_u`` and ``val_loader`` are None where the data set has no such split.

    Args:
        cfg: the configuration.
        custom_tfm_train: transform to use in training instead of the configured ones.
        custom_tfm_test: transform to use in tests instead of the configured ones.
        dataset_wrapper: a class to use instead of :class:`DatasetWrapper`.
    """

    def __init__(
        self,
        cfg: CfgNode,
        custom_tfm_train: Any = None,
        custom_tfm_test: Any = None,
        dataset_wrapper: Callable[..., Any] | None = None,
    ) -> None:
        dataset = build_dataset(cfg)
        tfm_train = _transform(cfg, custom_tfm_train, is_train=True)
        tfm_test = _transform(cfg, custom_tfm_test, is_train=False)

        def train_loader(source: Sequence[Datum], section: CfgNode, role: str = "") -> DataLoader[dict[str, Any]]:
            return build_data_loader(
                cfg,
                sampler_type=section.SAMPLER,
                data_source=source,
                batch_size=section.BATCH_SIZE,
                n_domain=section.N_DOMAIN,
                n_ins=section.N_INS,
                tfm=tfm_train,
                is_train=True,
                dataset_wrapper=dataset_wrapper,
                role=role,
            )

        def test_loader(source: Sequence[Datum]) -> DataLoader[dict[str, Any]]:
            return build_data_loader(
                cfg,
                sampler_type=cfg.DATALOADER.TEST.SAMPLER,
                data_source=source,
                batch_size=cfg.DATALOADER.TEST.BATCH_SIZE,
                tfm=tfm_test,
                is_train=False,
                dataset_wrapper=dataset_wrapper,
            )

        # Samplers may draw random numbers when they are made: the order is fixed.
        loaders = cfg.DATALOADER
        section_u = loaders.TRAIN_X if loaders.TRAIN_U.SAME_AS_X else loaders.TRAIN_U
        self.dataset = dataset
        self.train_loader_x = train_loader(dataset.train_x, loaders.TRAIN_X)
        self.train_loader_u = train_loader(dataset.train_u, section_u, "unlabelled") if dataset.train_u else None
        self.val_loader = test_loader(dataset.val) if dataset.val else None
        self.test_loader = test_loader(dataset.test)
        self._num_classes: int = dataset.num_classes
        self._num_source_domains = len(cfg.DATASET.SOURCE_DOMAINS)
        self._lab2cname: dict[int, str] = dataset.lab2cname
        if cfg.VERBOSE:
            self.show_dataset_summary(cfg)

    @property
    def num_classes(self) -> int:
        """The largest label plus one."""
        return self._num_classes

    @property
    def num_source_domains(self) -> int:
        """How many source domains the configuration names."""
        return self._num_source_domains

    @property
    def lab2cname(self) -> dict[int, str]:
        """Class names by label."""
        return self._lab2cname

    def show_dataset_summary(self, cfg: CfgNode) -> None:
        """Log the sizes of the data set as a table."""
        dataset = self.dataset
        rows: list[tuple[str, str]] = [("Dataset", cfg.DATASET.NAME)]
        if cfg.DATASET.SOURCE_DOMAINS:
            rows.append(("Source", str(cfg.DATASET.SOURCE_DOMAINS)))
        if cfg.DATASET.TARGET_DOMAINS:
            rows.append(("Target", str(cfg.DATASET.TARGET_DOMAINS)))
        rows += [("# classes", f"{self.num_classes:,}"), ("# train_x", f"{len(dataset.train_x):,}")]
        if dataset.train_u:
            rows.append(("# train_u", f"{len(dataset.train_u):,}"))
        if dataset.val:
            rows.append(("# val", f"{len(dataset.val):,}"))
        rows.append(("# test", f"{len(dataset.test):,}"))
        logger.info(_table(rows))


def _transform(cfg: CfgNode, custom: Any, is_train: bool) -> Any:
    if custom is None:
        return build_transform(cfg, is_train=is_train)
    logger.info("* Using custom transform for %s", "training" if is_train else "testing")
    return custom


def _table(rows: Sequence[tuple[str, str]]) -> str:
    left, right = (max(len(row[column]) for row in rows) for column in (0, 1))
    rule = f"{'-' * left}  {'-' * right}"
    lines = [f"{name:<{left}}  {value:<{right}}".rstrip() for name, value in rows]
    return "\n".join([rule, *lines, rule])
