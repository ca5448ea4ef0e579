"""What methods that a frozen model teaches have in common: the teacher, its views and its store."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor
from yacs.config import CfgNode

from caspl.dassl.kept_teacher import kept_by
from caspl.dassl.outcome import Sections
from caspl.dassl.student import given_pixels
from caspl.dassl.views import kept_features
from caspl.errors import CasPLError, advising
from caspl.model import Output
from caspl.step import Batch, Terms
from caspl.store import Store
from caspl.teachers import CLIPTeacher
from trainers.base import PromptTrainer

if TYPE_CHECKING:
    Base = PromptTrainer
else:
    Base = object

logger = logging.getLogger(__name__)


class Taught(Base):
    """A wrapper's mixin: labels are not used, a teacher's answers stand in the place of cross-entropy.

    With ``TRAINER.CASPL.VIEWS`` the teacher's features are rounded as a store rounds them, and with ``STORE`` they are
    kept: they do not depend on classes or templates, so that runs of all kinds share them.

    Class attributes:
        teaching: the wrapper's section under ``TRAINER``, with ``TEACHER`` and ``TEACHER_SCALE``.
    """

    labelled = False
    teacher_looks = True
    passes_losses_on = True
    teaching: ClassVar[str]
    teacher: CLIPTeacher
    teacher_store: Store | None = None
    _taught = False

    def check_cfg(self, cfg: CfgNode) -> None:
        super().check_cfg(cfg)
        self._require_task()

    @property
    def lesson(self) -> CfgNode:
        """The wrapper's config section."""
        return self.cfg.TRAINER[self.teaching]

    def sections(self) -> Sections:
        return {**super().sections(), self.teaching: None}

    def engage(self, texts: Sequence[Sequence[str]]) -> None:
        """Build the teacher, and what is kept of it.

        Args:
            texts: of each class that it knows.
        """
        name = self.lesson.TEACHER
        with advising(f"look at TRAINER.{self.teaching}.TEACHER"):
            encoder = self.frozen_encoder(name)
        self.teacher = CLIPTeacher(encoder, texts, given_pixels(self.cfg))
        if self.plan is not None:
            about = (self.cfg.DATASET.NAME, getattr(self.dm.dataset, "split_digest", ""))
            self.teacher_store = kept_by(self.cfg, self.teacher, name, about, self.viewing, self.precision)

    def teachers_logits(self, batch: Batch) -> Tensor:
        """Its logits (batch, classes), float32, without gradient."""
        return self.teacher.logits(batch, self.model.scale if self.lesson.TEACHER_SCALE == "student" else None)

    def batch_of(self, loaded: Mapping[str, Any]) -> Batch:
        batch = super().batch_of(loaded)
        if self.teacher_store is None:
            return batch
        return replace(batch, kept=kept_features(self.teacher_store, self.viewing.dataset, loaded, self.device))

    def losses(self, output: Output, batch: Batch) -> Terms:
        self._taught = False
        terms = super().losses(output, batch)
        if not self._taught:
            raise self._no_task(type(self))
        return terms

    def _require_task(self) -> None:
        """Refuse a method that has losses of its own and asks neither its parent's nor for the task's.

        Raises:
            CasPLError: naming it.
        """
        above = type(self).__mro__[type(self).__mro__.index(Taught) + 1 :]
        for method in above[: above.index(PromptTrainer)]:
            own = vars(method).get("losses")
            if own is not None and not {"losses", "task"} & set(own.__code__.co_names):
                raise self._no_task(method)

    def _no_task(self, method: type) -> CasPLError:
        return CasPLError(
            f"{method.__name__}: its losses do not ask super().losses() for the cross-entropy, which {self.teaching} "
            "would replace"
        )

    def task(self, output: Output, batch: Batch) -> Terms:
        self._taught = True
        return self.taught(output, batch)

    def taught(self, output: Output, batch: Batch) -> Terms:
        """The terms that stand in the place of cross-entropy."""
        raise NotImplementedError
