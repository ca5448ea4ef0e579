"""``FDBPL_<X>``: the method X taught by what a frozen model says of regions (FDBPL, arXiv 2505.18053). A wrapper."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor
from yacs.config import CfgNode

from caspl.classifier import class_logits
from caspl.dassl.section import class_texts
from caspl.errors import CasPLError, advising
from caspl.losses.kept_labels import released_tail, shared_tail, top_logits
from caspl.losses.regions import certainty, decidedness, each_way, likeness, margin_difference, summed_difference
from caspl.model import Output
from caspl.prompts import Prompts
from caspl.prompts.templates import checked
from caspl.prompts.text import segment_of
from caspl.step import Batch, Terms
from caspl.towers import CLIP
from trainers.registry import Wrapper, wrap
from trainers.taught import Taught

logger = logging.getLogger(__name__)

RELEASED = ("CoOp", "PromptSRC")
"""Methods that the release has it for."""
NEGATIVE = "negative"
"""Name of the texts of what a class is not, and of their segment."""

DEFAULTS = {
    "TEACHER": "ViT-H-14-quickgelu:dfn5b",  # as TRAINER.CASPL.TEACHER
    "TEACHER_TEMPLATE": "",  # empty: the data set's own
    "TEACHER_SCALE": "student",  # whose logit scale multiplies the teacher's cosines: student (release) | teacher
    "TOP_K": 0,  # labels are made of this many largest logits; 0: of all
    "TAIL": "shared",  # what the other classes get: an equal share of what is left | released, by the raw logits
    "WEIGHTS": "released",  # where there are no negative texts: the batch's mean | image, each image's own
    "NEGATIVE_CTX_INIT": "a photo of no",  # start of the negative context, where the method's own starts from words
    "COSINE_WEIGHT": 0.001,  # of the likeness of positive and negative logits
    "PCD": "margin",  # difference between classes: a hinge, with a gradient | released, which has none
    "PCD_WEIGHT": 0.1,
    "MARGIN": 0.2,  # of the hinge
}
DUAL = ("NEGATIVE_CTX_INIT", "COSINE_WEIGHT", "PCD", "PCD_WEIGHT", "MARGIN")
"""Those of them that are about negative texts."""


class FromRegions(Taught):
    """In the place of cross-entropy stands the divergence each way from the teacher, by how sure it is of a region.

    A method that learns in texts alone gets a second context, of what a class is not: the less sure the teacher is, the
    more its answers have to be uniform. Images are classified by the first one.
    """

    teaching = "FDBPL"

    def check_cfg(self, cfg: CfgNode) -> None:
        super().check_cfg(cfg)
        options = cfg.TRAINER.FDBPL
        unread = ["WEIGHTS"] if self.text_only else list(DUAL)
        if options.PCD != "margin" or not options.PCD_WEIGHT:
            unread.append("MARGIN")
        if not options.TOP_K:
            unread.append("TAIL")
        for key in dict.fromkeys(unread):
            if options[key] != DEFAULTS[key]:
                logger.warning("TRAINER.FDBPL.%s is set, but %s does not read it here", key, type(self).__name__)

    def prompts(self, clip: CLIP, options: CfgNode, classnames: Sequence[str]) -> Prompts:
        """The method's own, and a second set of texts, whose context is made like the method's."""
        positive = super().prompts(clip, options, classnames)
        if not self.text_only:
            return positive
        words = options.clone()
        words.defrost()
        words.CTX_INIT = self.lesson.NEGATIVE_CTX_INIT if options.CTX_INIT else ""
        with advising("it is TRAINER.FDBPL.NEGATIVE_CTX_INIT"):
            negative = super().prompts(clip, words, classnames)
        for segment in filter(None, map(segment_of, negative.pieces)):
            segment.name = NEGATIVE
        return replace(positive, others={NEGATIVE: negative})

    def start(self) -> None:
        options = self.lesson
        if self.text_only and options.PCD == "margin" and options.PCD_WEIGHT:
            self.whole_batch = "the differences between its images' classes (TRAINER.FDBPL.PCD margin)"
        elif not self.text_only and options.WEIGHTS == "released":
            self.whole_batch = "the mean of its images' weights (TRAINER.FDBPL.WEIGHTS released)"
        super().start()

    def prepare(self) -> None:
        super().prepare()
        names = self.dm.dataset.classnames
        if len(names) < 2:
            raise CasPLError(
                f"{type(self).__name__} weighs images by how sure a teacher is among the classes: it needs two or more"
            )
        given = self.lesson.TEACHER_TEMPLATE
        self.engage(class_texts(self.cfg, names, checked(given) if given else ""))

    def labels(self, batch: Batch) -> Tensor:
        """The teacher's logits (batch, classes), or what the largest of them give back."""
        logits, k = self.teachers_logits(batch), self.lesson.TOP_K
        count = logits.shape[1]
        if not 0 < k < count:
            return logits
        tail = released_tail if self.lesson.TAIL == "released" else shared_tail
        return tail(top_logits(logits, k), count)

    def taught(self, output: Output, batch: Batch) -> Terms:
        options, labels = self.lesson, self.labels(batch)
        weights = certainty(labels)
        forward, reverse = each_way(output.logits, labels)
        if not self.text_only and options.WEIGHTS == "released":
            weights = weights.mean()
        terms = {"kl_teacher": 0.5 * (weights * forward).mean(), "kl_student": 0.5 * (weights * reverse).mean()}
        if not self.text_only:
            return terms
        texts = output.text, output.others[NEGATIVE]
        unlike = class_logits(self.model.scale, output.image, texts[1])
        terms["negative"] = ((1 - weights) * decidedness(unlike)).mean()
        terms["cosine"] = options.COSINE_WEIGHT * (weights * likeness(output.logits, unlike)).mean()
        if not options.PCD_WEIGHT:
            return terms
        if options.PCD == "released":
            difference = summed_difference(*texts, labels)
        else:
            difference = margin_difference(output.image, *texts, labels, weights, options.MARGIN)
        return terms | {"difference": options.PCD_WEIGHT * difference}


wrap(
    Wrapper(
        "FDBPL_",
        "FDBPL",
        DEFAULTS,
        FromRegions,
        "{} taught by what a frozen model says of regions (FDBPL).",
        takes=lambda trainer: trainer.__name__ in RELEASED,
        makes_methods=True,
    )
)
