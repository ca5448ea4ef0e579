"""A method's own frozen image features from a store: those that it classifies, or those of its frozen reference.

``TRAINER.CASPL.VIEWS`` and ``STORE`` mean here what they mean in phase 1 (:mod:`caspl.dassl.phase1`), for the student.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from caspl.boosting.find import student_slug
from caspl.dassl.views import (
    ViewingLoader,
    filled,
    identity_of,
    kept_features,
    plan_of,
    store_of,
    told,
    viewing_loader,
    views_used,
)
from caspl.errors import CasPLError
from caspl.step import Batch
from caspl.store import CHUNK, Store, ViewPlan, encode_alike, rounded
from caspl.store.store import Row
from caspl.teachers import Reference
from caspl.teachers.student import StudentEncoder

if TYPE_CHECKING:
    from caspl.dassl.stepping import Stepping as Base
else:
    Base = object

logger = logging.getLogger(__name__)


class OwnFeatures(Base):
    """A mixin in front of ``Stepping``. Without VIEWS and STORE it does nothing.

    Class attributes:
        text_only: whether the image tower is frozen, and losses look at images through the output alone.
        reference_looks: whether the losses compare with image features of a frozen ``self.reference``.
        teacher_looks: whether a frozen teacher looks at the images, whose features can be kept likewise.
        passes_losses_on: of the class that says so alone: its ``losses`` look at no image but through another's.
    """

    text_only: ClassVar[bool] = False
    reference_looks: ClassVar[bool] = False
    teacher_looks: ClassVar[bool] = False
    passes_losses_on: ClassVar[bool] = False

    section: ClassVar[str]
    learns: ClassVar[bool]
    plan: ViewPlan | None = None
    viewing: ViewingLoader
    store: Store | None = None
    student_hash: str
    reference: Reference
    _kept = ""  # which features a batch is given: its field
    _encoder: StudentEncoder

    def look_for_views(self) -> None:
        """Called once the model is built: take the training images in views with names, if that was asked for."""
        cfg, options = self.cfg, self.cfg.TRAINER.CASPL
        if self.section == "CASPL" or not (options.VIEWS or options.STORE):  # phase 1 looks for itself
            return
        name, still = type(self).__name__, not any(one.requires_grad for one in self.model.vision.parameters())
        own = self.reference_looks or (self.text_only and still)
        if not (own or self.teacher_looks):
            logger.warning("TRAINER.CASPL.VIEWS and STORE are set, but nothing in %s sees images frozen", name)
            return
        if not self.learns and not options.STORE:
            logger.warning("TRAINER.CASPL.VIEWS is set, but %s sees no training images", name)
            return
        self._kept = ("reference" if self.reference_looks else "image") if own else ""
        if not self.learns:
            return
        plan = plan_of(cfg)
        if plan is None or self.train_loader_x is None or getattr(self.dm.dataset, "test_only", False):
            return
        unseen = self._kept == "image" and self._looks_at_no_image() and options.STORE
        self.plan, self.viewing = plan, viewing_loader(cfg, self.train_loader_x, plan, not unseen)
        self.train_loader_x = self.viewing

    @classmethod
    def _looks_at_no_image(cls) -> bool:
        """Whether the class that writes the losses, or one that knows of it, says ``text_only``."""
        own = [vars(one) for one in cls.__mro__]
        says = next(place for place, there in enumerate(own) if "text_only" in there)
        writes = next(n for n, there in enumerate(own) if "losses" in there and not there.get("passes_losses_on"))
        return says <= writes

    def start(self) -> None:
        super().start()
        if self._kept and self.plan is not None:
            self._encoder = self._student(self.reference.vision if self._kept == "reference" else self.model.vision)
            if self.cfg.TRAINER.CASPL.STORE:
                self.store = self._student_store(self.plan)

    def before_epoch(self) -> None:
        if self.plan is not None:
            self.viewing.set_epoch(self.epoch)
        super().before_epoch()

    def batch_of(self, loaded: Mapping[str, Any]) -> Batch:
        """With the features that do not change, kept or rounded as if they had been."""
        batch = super().batch_of(loaded)
        if not self._kept or self.plan is None:
            return batch
        if self.store is None:
            with self.precision.compute():
                features = rounded(encode_alike(self._encoder, batch.first))
        else:
            features = kept_features(self.store, self.viewing.dataset, loaded, self.device)
        return replace(batch, image=features) if self._kept == "image" else replace(batch, reference=features)

    def build_store(self) -> None:
        """Fill the stores, as a run would before it trains and before it tests.

        Raises:
            CasPLError: nothing is frozen here, a store belongs to something else, or there is no room.
        """
        if not (self._kept or self.teacher_looks):
            raise CasPLError(f"there is no store to build: nothing in {type(self).__name__} sees images frozen")
        if self.plan is not None:
            self.start()
        if self._kept == "image" and self.test_loader is not None:
            self._from_store(self.test_loader)

    # Tests ----------------------------------------------------------------------------------------------------

    def test(self, split: str | None = None, **anything: Any) -> Any:
        """As Dassl's; where the image tower is frozen and a store is named, it looks once at each image, ever."""
        use_val = (split or self.cfg.TEST.SPLIT) == "val" and self.val_loader is not None
        name = "val_loader" if use_val else "test_loader"
        there = getattr(self, name)
        if self._kept != "image" or not self.cfg.TRAINER.CASPL.STORE or there is None:
            return super().test(split, **anything)
        setattr(self, name, self._from_store(there))
        try:
            return super().test(split, **anything)
        finally:
            setattr(self, name, there)

    def _classify(self, images: Tensor) -> list[Tensor]:
        """Of images, or of features (batch, embed_dim) in their place."""
        if images.dim() != 2:
            return super()._classify(images)
        with self.precision.compute():
            return [(self.classifier or self.model.fixed()).classify(images)]

    def _from_store(self, loader: Any) -> DataLoader[dict[str, Any]]:
        """A loader of the same items, with features in the images' place."""
        pixels, loading = self.cfg.INPUT, self.cfg.DATALOADER
        encoder, items = self._student(self.model.vision), loader.dataset
        plan = {
            **{"tested": True, "size": list(pixels.SIZE), "transforms": sorted(pixels.TRANSFORMS)},
            "cached": [loading.CACHE_BYTES > 0, loading.CACHE_SHORT_SIDE],
        }
        store = self._store(encoder, " tested", plan)
        identities = [identity_of(item.impath, self.cfg.DATASET.ROOT) for item in items.data_source]
        places = {identity: place for place, identity in enumerate(identities)}

        def encode(rows: list[Row]) -> Iterator[Tensor]:
            for start in range(0, len(rows), CHUNK):
                images = [items[places[identity]]["img"] for identity, _ in rows[start : start + CHUNK]]
                yield encode_alike(encoder, torch.stack(images).to(self.device))

        with self.precision.compute():
            told(store, store.complete([(identity, 0) for identity in identities], encode, logger.info))
        dataset = KeptItems(items.data_source, identities, store)
        return DataLoader(dataset, batch_size=loader.batch_size, sampler=loader.sampler, drop_last=loader.drop_last)

    # Stores ---------------------------------------------------------------------------------------------------

    def _student(self, vision: Any) -> StudentEncoder:
        return StudentEncoder(self.model.clip, vision, self.student_hash)

    def _store(self, encoder: StudentEncoder, what: str, plan: Mapping[str, Any]) -> Store:
        """Of the student, or of one boosted student, in a folder of its own."""
        tokens = f" boosted {encoder.identity}" if encoder.boosted else ""
        name = f"student {student_slug(self.cfg.MODEL.BACKBONE.NAME)}{tokens}{what}"
        dataset = (self.cfg.DATASET.NAME, getattr(self.dm.dataset, "split_digest", ""))
        return store_of(self.cfg, encoder, name, dataset, plan, self.precision.computes)

    def _student_store(self, plan: ViewPlan) -> Store:
        store = self._store(self._encoder, "", plan.as_dict())
        with self.precision.compute():
            return filled(store, self._encoder, self.viewing.dataset, views_used(self.cfg), self.device)


class KeptItems(Dataset[dict[str, Any]]):
    """Items of Dassl's kind, with features from a store as their images.

    Args:
        source: the items.
        identities: of their images.
        store: holds all of them.
    """

    def __init__(self, source: Any, identities: list[str], store: Store) -> None:
        self.data_source, self.identities, self.store = source, identities, store

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item, place = self.data_source[index], int(index)
        features = self.store.features([self.identities[place]], [0])[0]
        return {"img": features, "label": item.label, "domain": item.domain, "impath": item.impath, "index": place}
