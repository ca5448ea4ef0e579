"""``KDPL_<X>``: the method X taught by a frozen model instead of by labels (KDPL, arXiv 2407.03056). A wrapper."""

from __future__ import annotations

import logging

from torch import Tensor
from yacs.config import CfgNode

from caspl.boosting.file import names_hash
from caspl.build import class_specific
from caspl.dassl.section import class_texts
from caspl.errors import CasPLError, advising
from caspl.losses import both_ways, most_probable
from caspl.model import Output, PromptedCLIP
from caspl.prompts.templates import DEFAULT_TEMPLATE, checked
from caspl.step import Batch, Terms
from caspl.teachers.dictionary import read_dictionary
from trainers.registry import Wrapper, wrap
from trainers.taught import Taught

logger = logging.getLogger(__name__)

DEFAULTS = {
    "TEACHER": "ViT-H-14-quickgelu:dfn5b",  # as TRAINER.CASPL.TEACHER
    "TEACHER_TEMPLATE": "",  # empty: the data set's own, with a dictionary "a photo of a {}."
    "TEACHER_SCALE": "student",  # whose logit scale multiplies the teacher's cosines: student (release) | teacher
    "CLASS_AGNOSTIC": False,  # let the teacher choose names for each batch from the DICTIONARY
    "DICTIONARY": "",  # file with one name a line, or tinyworld
    "K_MAX": 1000,  # names that it chooses
}


class FromTeacher(Taught):
    """Labels are not used: in the place of cross-entropy stands half the divergence each way from the teacher.

    The method's further terms stay. Class-agnostic, steps are taken with a model of the dictionary's names, of which
    the teacher chooses those of a batch; tests see the true names.
    """

    teaching = "KDPL"
    _learner: PromptedCLIP | None = None

    def check_cfg(self, cfg: CfgNode) -> None:
        super().check_cfg(cfg)
        options = cfg.TRAINER.KDPL
        if options.CLASS_AGNOSTIC and not options.DICTIONARY:
            raise CasPLError("TRAINER.KDPL.CLASS_AGNOSTIC needs a TRAINER.KDPL.DICTIONARY, a file with one name a line")
        if options.DICTIONARY and not options.CLASS_AGNOSTIC:
            logger.warning("TRAINER.KDPL.DICTIONARY is not read without CLASS_AGNOSTIC")

    def build_model(self) -> None:
        super().build_model()
        specific = class_specific(self.model.text) if self.lesson.CLASS_AGNOSTIC else []
        if specific:
            raise CasPLError(
                f"the tokens {specific[0]!r} are each class's own: a class-agnostic teacher has no classes to give them"
            )

    def contents(self) -> dict[str, str]:
        found = super().contents()
        if not self.lesson.CLASS_AGNOSTIC:
            return found
        return found | {"TRAINER.KDPL.DICTIONARY": names_hash(self._dictionary())}

    @property
    def learner(self) -> PromptedCLIP:
        return self._learner or self.model

    def prepare(self) -> None:
        """Build the teacher; what the method itself needs is made for the classes that steps are taken with."""
        options, agnostic = self.lesson, self.lesson.CLASS_AGNOSTIC
        if agnostic and self.group.world > 1:
            raise self.group.refusal("a class-agnostic teacher chooses names for whole batches: start one process")
        model, names = self.model, self.class_names()
        if agnostic:
            names = self._dictionary()
            self._learner = model.for_classes(names)
            logger.info("each batch: the %d likeliest of %d names", min(options.K_MAX, len(names)), len(names))
        self.model = self.learner
        try:
            super().prepare()
        finally:
            self.model = model
        given = options.TEACHER_TEMPLATE or (DEFAULT_TEMPLATE if agnostic else "")
        self.engage(class_texts(self.cfg, names, checked(given) if given else ""))

    def chosen_classes(self, batch: Batch) -> Tensor | None:
        """Ask the teacher; where the classes are not known, it also says which names the step is about."""
        self._soft = self.teachers_logits(batch)
        if not self.lesson.CLASS_AGNOSTIC:
            return None
        chosen = most_probable(self._soft, self.lesson.K_MAX)
        self._soft = self._soft.index_select(1, chosen)
        return chosen

    def _dictionary(self) -> list[str]:
        with advising("it is TRAINER.KDPL.DICTIONARY"):
            return read_dictionary(self.lesson.DICTIONARY)

    def taught(self, output: Output, batch: Batch) -> Terms:
        forward, reverse = both_ways(output.logits, self._soft)
        return {"kl_teacher": 0.5 * forward, "kl_student": 0.5 * reverse}


wrap(
    Wrapper(
        "KDPL_",
        "KDPL",
        DEFAULTS,
        FromTeacher,
        "{} taught by a frozen model's soft labels (KDPL).",
        takes=lambda trainer: trainer.cascades and trainer.learns and trainer.labelled and not trainer.behind,
        makes_methods=True,
    )
)
