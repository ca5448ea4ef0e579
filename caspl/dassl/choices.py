"""Which words a config's keys can hold: asked before anything is read or written."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from yacs.config import CfgNode

from caspl.dassl.outcome import each, known_leaves
from caspl.dassl.section import CHOICES as CASPL
from caspl.errors import CasPLError
from caspl.prompts.context import POSITIONS
from caspl.results.record import CLASSES
from caspl.step.precision import MODES
from dassl.data.transforms import AVAI_CHOICES, INTERPOLATION_MODES
from dassl.evaluation import EVALUATOR_REGISTRY
from dassl.optim.lr_scheduler import AVAI_SCHEDS
from dassl.optim.optimizer import AVAI_OPTIMS

SAMPLERS = ("RandomSampler", "SequentialSampler", "RandomDomainSampler", "SeqDomainSampler", "RandomClassSampler")

WORDS: Mapping[str, Collection[str]] = {
    "INPUT.INTERPOLATION": INTERPOLATION_MODES,
    "INPUT.BACKEND": ("pil", "tensor"),
    "INPUT.TRANSFORMS": AVAI_CHOICES,
    "DATASET.SUBSAMPLE_CLASSES": CLASSES,
    "DATALOADER.TRAIN_X.SAMPLER": SAMPLERS,
    "DATALOADER.TRAIN_U.SAMPLER": SAMPLERS,
    "DATALOADER.TEST.SAMPLER": SAMPLERS,
    "OPTIM.NAME": AVAI_OPTIMS,
    "OPTIM.LR_SCHEDULER": AVAI_SCHEDS,
    "OPTIM.WARMUP_TYPE": ("constant", "linear"),
    "TRAIN.COUNT_ITER": ("train_x", "train_u", "smaller_one"),
    "TEST.SPLIT": ("val", "test"),
    "TRAIN.GRAPH": ("auto", "off"),
    "TEST.FINAL_MODEL": ("last_step", "best_val"),
    "TRAINER.COOP.CLASS_TOKEN_POSITION": POSITIONS,
    "TRAINER.PROGRAD.CLASS_TOKEN_POSITION": POSITIONS,
    "TRAINER.COMMA.GENERATORS": ("learned", "fixed"),
    "TRAINER.COPROMPT.DISTILL": ("cosine", "mse"),
    "TRAINER.LASP.SOFTMAX": ("learned", "crafted"),
    "TRAINER.KDPL.TEACHER_SCALE": CASPL["TEACHER_SCALE"],
    "TRAINER.FDBPL.TEACHER_SCALE": CASPL["TEACHER_SCALE"],
    "TRAINER.FDBPL.TAIL": ("shared", "released"),
    "TRAINER.FDBPL.WEIGHTS": ("released", "image"),
    "TRAINER.FDBPL.PCD": ("margin", "released"),
    **{f"TRAINER.CASPL.{key}": words for key, words in CASPL.items()},
}
"""Key -> the words that it, or each of its words, can be; so for ``PREC`` in every section, and for ``TEST.EVALUATOR``.

A key that is neither here nor there holds words of the user's own: a name, a path, a text.
"""


def check_choices(cfg: CfgNode, sections: Collection[str]) -> None:
    """Refuse words that their keys cannot mean.

    Args:
        sections: those under ``TRAINER`` that are known here; a user's own keys may mean anything.

    Raises:
        CasPLError: naming the key, what it can be, and what it is.
    """
    for key, value in known_leaves(cfg, sections):
        choices = choices_of(key)
        wrong = [word for word in each(value) if choices and word not in choices]
        if wrong:
            raise CasPLError(f"{key} is {' or '.join(choices)}, not {wrong[0]!r}")


def choices_of(key: str) -> Collection[str]:
    """The words that a key can hold; none where it can hold any."""
    if key == "TEST.EVALUATOR":  # users may register their own
        return EVALUATOR_REGISTRY.registered_names()
    return MODES if key.endswith(".PREC") else WORDS.get(key, ())
