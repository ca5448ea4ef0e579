"""Views with names for a trainer of Dassl's kind: a loader that draws them, and the store that keeps their features."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from yacs.config import CfgNode

from caspl.dassl.student import given_pixels
from caspl.errors import CasPLError
from caspl.store import CHUNK, FrozenEncoder, Header, Store, View, ViewPlan
from caspl.store.store import Row

logger = logging.getLogger(__name__)

STORE_OPTIONS: dict[str, Any] = {
    "VIEWS": 0,  # views with names of each image, one an epoch in turn; 0: drawn anew each time, as published
    "VIEWS_EACH": 1,  # that are cut each time an image is read: they stand in a batch together, and an epoch holds them
    "VIEW_SEED": 0,  # of the views; no run's seed, so that all runs see the same
    "STORE": "",  # folder in which features of the frozen encoder are kept; empty: computed in every step
    "STORE_BYTES": 0,  # that one store may take on the disk; 0: no bound
}


def plan_of(cfg: CfgNode) -> ViewPlan | None:
    """The views that a config asks for; None where it asks for none.

    Raises:
        CasPLError: for a store without views, or settings that named views cannot follow.
    """
    options, pixels, loading = cfg.TRAINER.CASPL, cfg.INPUT, cfg.DATALOADER
    if options.VIEWS <= 0:
        if options.STORE:
            raise CasPLError(
                "TRAINER.CASPL.STORE needs views with names: set TRAINER.CASPL.VIEWS to how many of each image (at "
                f"most OPTIM.MAX_EPOCH, {cfg.OPTIM.MAX_EPOCH}, are used)"
            )
        if options.VIEWS_EACH != 1:
            raise CasPLError("TRAINER.CASPL.VIEWS_EACH needs views with names: set TRAINER.CASPL.VIEWS too")
        return None
    if options.VIEWS_EACH > options.VIEWS:
        raise CasPLError(
            f"TRAINER.CASPL.VIEWS_EACH is at most TRAINER.CASPL.VIEWS, {options.VIEWS}, not {options.VIEWS_EACH}: an "
            "image would come in the same view twice"
        )
    if loading.K_TRANSFORMS != 1 or loading.RETURN_IMG0 or pixels.NO_TRANSFORM:
        raise CasPLError(
            "TRAINER.CASPL.VIEWS needs one transformed image an item: no K_TRANSFORMS, RETURN_IMG0 or NO_TRANSFORM"
        )
    if getattr(loading, "CACHE_BYTES", 0) > 0:
        raise CasPLError("TRAINER.CASPL.VIEWS reads images from their files: set DATALOADER.CACHE_BYTES 0")
    return ViewPlan.of(pixels.TRANSFORMS, tuple(pixels.SIZE), tuple(pixels.RRCROP_SCALE), options.VIEW_SEED)


def views_used(cfg: CfgNode) -> int:
    """How many views of each image a run looks at."""
    options = cfg.TRAINER.CASPL
    return int(min(options.VIEWS, cfg.OPTIM.MAX_EPOCH * options.VIEWS_EACH))


class NamedViews(Dataset[dict[str, Any]]):
    """Images in views of a plan; the number of the view comes with the index. An image is kept until another is read.

    Args:
        cfg: says how images are read, resized and normalised.
        source: items of Dassl's kind.
        plan: of the views.
        pixels: whether items hold them; where features are kept, nobody need read the files.
    """

    def __init__(self, cfg: CfgNode, source: Sequence[Any], plan: ViewPlan, pixels: bool = True) -> None:
        from dassl.data.transforms import INTERPOLATION_MODES

        self.data_source, self.plan, self.pixels = source, plan, pixels
        self.root = os.path.realpath(os.path.expanduser(cfg.DATASET.ROOT))
        self.tensor = getattr(cfg.INPUT, "BACKEND", "pil") == "tensor"
        self.mode = INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION]
        self.mean, self.std = list(cfg.INPUT.PIXEL_MEAN), list(cfg.INPUT.PIXEL_STD)
        self.identities = [identity_of(item.impath, self.root) for item in source]
        self._last: tuple[int, Any] = (-1, None)

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item, number = self.data_source[index], getattr(index, "seed", 0)
        image = self.load(int(index), number) if self.pixels else torch.empty(0)
        return {
            **{"label": item.label, "domain": item.domain, "impath": item.impath, "index": int(index)},
            **{"view": number, "img": image},
        }

    def load(self, index: int, number: int) -> Tensor:
        """A view of an image: (3, height, width), normalised."""
        from torchvision.transforms.v2 import functional as T

        image = self._image(index)
        height, width = T.get_size(image)
        pixels = _seen(image, self.plan.view(self.identities[index], number, height, width), self.mode)
        floats = pixels.float() / 255 if self.tensor else T.to_dtype(T.to_image(pixels), torch.float32, scale=True)
        return T.normalize(floats, self.mean, self.std)

    def _image(self, index: int) -> Any:
        from dassl.data.decode import read_tensor
        from dassl.utils.tools import read_image

        if self._last[0] != index:
            path = self.data_source[index].impath
            self._last = index, read_tensor(path) if self.tensor else read_image(path)
        return self._last[1]


def identity_of(path: str, root: str) -> str:
    """An image's path below the data root, which may lie elsewhere tomorrow."""
    return Path(os.path.relpath(os.path.realpath(path), os.path.realpath(os.path.expanduser(root)))).as_posix()


def _seen(image: Any, view: View, mode: Any) -> Any:
    from torchvision.transforms.v2 import functional as T

    box = (view.top, view.left, view.height, view.width)
    cut = T.resized_crop(image, *box, list(view.size), interpolation=mode, antialias=True)
    return T.horizontal_flip(cut) if view.flip else cut


class ViewingLoader(DataLoader[dict[str, Any]]):
    """Yields views with names; which ones, its epoch says."""

    dataset: NamedViews

    def set_epoch(self, epoch: int) -> None:
        """Go to the views and the order of an epoch."""
        self.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[union-attr]  # a sampler of ours


def viewing_loader(cfg: CfgNode, loader: DataLoader[Any], plan: ViewPlan, pixels: bool = True) -> ViewingLoader:
    """The training loader over the same images, in views of a plan: the same for any number of workers.

    Of several processes each has a slice of every batch, as with the loader that this stands for.

    Epoch e shows views ``e * VIEWS_EACH`` and so on of each image, in turn. ``set_epoch`` says which epoch it is.
    """
    from dassl.data.repeatable import Draw, RepeatableSampler  # late: the original Dassl has none
    from dassl.data.samplers import build_sampler
    from dassl.data.sharded import SlicedBatches
    from dassl.utils.ranks import rank_and_world

    options, section = cfg.TRAINER.CASPL, cfg.DATALOADER.TRAIN_X
    views, each = options.VIEWS, options.VIEWS_EACH
    source = loader.dataset.data_source  # type: ignore[attr-defined]

    class ViewSampler(RepeatableSampler):
        """Gives each index the number of its view, where others give a seed for random numbers."""

        def __len__(self) -> int:
            return super().__len__() * each

        def __iter__(self) -> Iterator[int]:
            numbers = [(self.epoch * each + turn) % views for turn in range(each)]
            return (Draw(index, number) for index in list(super().__iter__()) for number in numbers)

    batch_size = getattr(loader.batch_sampler, "batch_size", section.BATCH_SIZE)
    sampler = build_sampler(
        section.SAMPLER,
        cfg=cfg,
        data_source=source,
        batch_size=batch_size,
        n_domain=section.N_DOMAIN,
        n_ins=section.N_INS,
    )
    workers = cfg.DATALOADER.NUM_WORKERS
    # A loader that slices its batches has nothing to say of the last one itself.
    drop_last = getattr(loader.batch_sampler, "drop_last", loader.drop_last)
    return ViewingLoader(
        NamedViews(cfg, source, plan, pixels),
        batch_sampler=SlicedBatches(
            ViewSampler(sampler, max(cfg.SEED, 0), "views"), batch_size, drop_last, *rank_and_world()
        ),
        num_workers=workers,
        pin_memory=loader.pin_memory,
        persistent_workers=workers > 0,
        generator=torch.Generator(),  # a pass that begins draws nothing from the global one
    )


def store_of(
    cfg: CfgNode,
    encoder: FrozenEncoder,
    name: str,
    dataset: tuple[str, str],
    plan: Mapping[str, Any],
    computes: torch.dtype,
) -> Store:
    """The store that a config names, for an encoder.

    Args:
        name: of the encoder: its folder's, and for people.
        dataset: name and digest of the split.
        plan: what the views are, as plain JSON.
        computes: type that the encoder computes in.

    Raises:
        CasPLError: what is there belongs to something else, or is damaged.
    """
    from caspl.boosting.find import student_slug

    options = cfg.TRAINER.CASPL
    pixels = given_pixels(cfg).as_dict() | {"backend": getattr(cfg.INPUT, "BACKEND", "pil")}
    computed = str(computes).removeprefix("torch.")
    header = Header(name, encoder.identity, *dataset, plan=plan, pixels=pixels, computes=computed)
    return Store(Path(options.STORE) / dataset[0] / student_slug(name), header, options.STORE_BYTES)


def filled(store: Store, encoder: FrozenEncoder, images: NamedViews, views: int, device: torch.device) -> Store:
    """A store that holds all views of some images.

    Raises:
        CasPLError: there is no room.
    """
    from caspl.store import encode_alike

    places = {identity: index for index, identity in enumerate(images.identities)}

    def encode(rows: list[Row]) -> Iterator[Tensor]:
        for start in range(0, len(rows), CHUNK):
            part = [images.load(places[identity], number) for identity, number in rows[start : start + CHUNK]]
            yield encode_alike(encoder, torch.stack(part).to(device))

    # All views of an image in turn, so that it is read once.
    rows = [(one, number) for one in images.identities for number in range(views)]
    return told(store, store.complete(rows, encode, logger.info))


def told(store: Store, made: int) -> Store:
    """A store that has been completed; the log says with how much."""
    there = (store.header.encoder, store.folder, made, len(store), store.size)
    logger.info("features of %s: %s, %d views made, %d there, %d bytes", *there)
    return store


def kept_features(store: Store, images: NamedViews, loaded: Mapping[str, Any], device: torch.device) -> Tensor:
    """What a store has of the views that a loader has made: (batch, width), float32, on the device."""
    identities = [images.identities[place] for place in loaded["index"].tolist()]
    features = store.features(identities, loaded["view"].tolist())
    # From pageable memory a copy to a GPU would wait for it.
    return (features.pin_memory() if device.type == "cuda" else features).to(device, non_blocking=True)
