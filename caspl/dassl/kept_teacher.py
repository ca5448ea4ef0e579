"""A teacher's features of the training images from a store (``TRAINER.CASPL.VIEWS`` and ``STORE``), for any trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from yacs.config import CfgNode

from caspl.dassl.views import ViewingLoader, filled, kept_features, plan_of, store_of, viewing_loader, views_used
from caspl.step import Batch, Precision
from caspl.store import Store, ViewPlan
from caspl.teachers import CLIPTeacher

if TYPE_CHECKING:
    from caspl.dassl.stepping import Stepping as Base
else:
    Base = object


def kept_by(
    cfg: CfgNode, teacher: CLIPTeacher, name: str, dataset: tuple[str, str], views: ViewingLoader, precision: Precision
) -> Store | None:
    """The store that a config names for a teacher, with every view of every image that a run looks at; None without.

    Args:
        teacher: its features are rounded from now on, as a store rounds them.
        name: of it: its folder's, and for people.
        dataset: name and digest of the split that the images are of.
        views: the loader that shows them.

    Raises:
        CasPLError: the store belongs to something else, or there is no room.
    """
    teacher.named = True
    if not cfg.TRAINER.CASPL.STORE:
        return None
    images = views.dataset
    store = store_of(cfg, teacher, name, dataset, images.plan.as_dict(), precision.computes)
    with precision.compute():
        return filled(store, teacher, images, views_used(cfg), precision.device)


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
        """Where there are named views, see :func:`kept_by`."""
        if self.plan is not None:
            self.store = kept_by(self.cfg, teacher, name, dataset, self.viewing, self.precision)

    def build_store(self) -> None:
        """Fill the store, as a run would before it trains.

        Raises:
            CasPLError: it belongs to something else, or there is no room.
        """
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
