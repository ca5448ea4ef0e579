"""A teacher's features of the training images from a store (``TRAINER.CASPL.VIEWS`` and ``STORE``), for any trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from caspl.dassl.views import ViewingLoader, filled, kept_features, plan_of, store_of, viewing_loader, views_used
from caspl.errors import CasPLError
from caspl.step import Batch, Precision
from caspl.store import Store, ViewPlan
from caspl.teachers import CLIPTeacher

if TYPE_CHECKING:
    from caspl.dassl.stepping import Stepping as Base
else:
    Base = object


class KeptTeacher(Base):
    """A mixin in front of a trainer that calls :meth:`take_views` with its loader, and :meth:`keep` in ``prepare``."""

    precision: Precision
    plan: ViewPlan | None = None
    viewing: ViewingLoader
    store: Store | None = None

    def take_views(self) -> None:
        """Take the training images in views with names, if that was asked for.

        Raises:
            CasPLError: for a store without views, or settings that named views cannot follow.
        """
        self.plan = plan_of(self.cfg)
        if self.plan is not None:
            self.train_loader_x = self.viewing = viewing_loader(self.cfg, self.train_loader_x, self.plan)

    def keep(self, teacher: CLIPTeacher, name: str, dataset: tuple[str, str]) -> None:
        """With named views the teacher's features are rounded as a store does; where one is named, they come from it.

        Args:
            teacher: whose store gets every view of every image that this run looks at.
            name: of it: its folder's, and for people.
            dataset: name and digest of the split that the images are of.

        Raises:
            CasPLError: the store belongs to something else, or there is no room.
        """
        teacher.named = self.plan is not None
        if self.plan is None or not self.cfg.TRAINER.CASPL.STORE:
            return
        cfg = self.cfg
        store = store_of(cfg, teacher, name, dataset, self.plan.as_dict(), self.precision.computes)
        self.store = filled(store, teacher, self.viewing.dataset, views_used(cfg), self.device)

    def build_store(self) -> None:
        """Fill the store, as a run would before it trains.

        Raises:
            CasPLError: none is named, it belongs to something else, or there is no room.
        """
        if not self.cfg.TRAINER.CASPL.STORE:
            raise CasPLError("there is no store to build: name its folder with TRAINER.CASPL.STORE")
        with self.precision.compute():
            self.prepare()

    def before_epoch(self) -> None:
        if self.plan is not None:
            self.viewing.set_epoch(self.epoch)
        super().before_epoch()

    def batch_of(self, loaded: Mapping[str, Any]) -> Batch:
        """With the teacher's features, where they are kept."""
        batch = Batch.of(loaded, self.device)
        if self.store is None:
            return batch
        return replace(batch, kept=kept_features(self.store, self.viewing.dataset, loaded, self.device))
