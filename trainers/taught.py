"""What methods that a frozen model teaches have in common: the teacher, its views and its store."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor
from yacs.config import CfgNode

from caspl.dassl.outcome import Sections
from caspl.dassl.student import given_pixels
from caspl.dassl.views import store_of
from caspl.errors import CasPLError, advising
from caspl.model import Output
from caspl.prompts.templates import fill
from caspl.step import Batch, Terms
from caspl.store import Store
from caspl.teachers import CLIPTeacher

if TYPE_CHECKING:
    from trainers.base import PromptTrainer as Base
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

    @property
    def lesson(self) -> CfgNode:
        """The wrapper's config section."""
        return self.cfg.TRAINER[self.teaching]

    def sections(self) -> Sections:
        return {**super().sections(), self.teaching: None}

    def engage(self, template: str, classnames: Sequence[str]) -> None:
        """Build the teacher, and what is kept of it.

        Args:
            template: of its texts.
            classnames: that it knows.
        """
        name = self.lesson.TEACHER
        with advising(f"look at TRAINER.{self.teaching}.TEACHER"):
            encoder = self.frozen_encoder(name)
        self.teacher = CLIPTeacher(encoder, fill(template, classnames), given_pixels(self.cfg))
        self.teacher.named = self.plan is not None
        if self.plan is not None and self.cfg.TRAINER.CASPL.STORE:
            about = (self.cfg.DATASET.NAME, getattr(self.dm.dataset, "split_digest", ""))
            store = store_of(self.cfg, self.teacher, name, about, self.plan.as_dict(), self.precision.computes)
            self.teacher_store = self.filled(store, self.teacher, "teacher")

    def teachers_logits(self, batch: Batch) -> Tensor:
        """Its logits (batch, classes), float32, without gradient."""
        return self.teacher.logits(batch, self.model.scale if self.lesson.TEACHER_SCALE == "student" else None)

    def batch_of(self, loaded: Mapping[str, Any]) -> Batch:
        batch = super().batch_of(loaded)
        if self.teacher_store is None:
            return batch
        return replace(batch, kept=self.kept_features(self.teacher_store, loaded))

    def losses(self, output: Output, batch: Batch) -> Terms:
        self._taught = False
        terms = super().losses(output, batch)
        if not self._taught:
            raise CasPLError(
                f"{type(self).__name__}: the method's losses do not ask super().losses() for the cross-entropy, which "
                f"{self.teaching} would replace"
            )
        return terms

    def task(self, output: Output, batch: Batch) -> Terms:
        self._taught = True
        return self.taught(output, batch)

    def taught(self, output: Output, batch: Batch) -> Terms:
        """The terms that stand in the place of cross-entropy."""
        raise NotImplementedError
