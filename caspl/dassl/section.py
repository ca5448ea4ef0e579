"""What ``TRAINER.CASPL`` means: its keys, and what they choose. Our own trainers read it here too.

Only ``TRAINER.CASPL`` itself, published keys and the optional ``DATASET.TEMPLATE`` are read, so that the configs of
other code bases do as well.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from caspl.boosting import BoostingFile, read_boosting
from caspl.boosting.find import boosting_path, find_boosting
from caspl.dassl.views import STORE_OPTIONS
from caspl.errors import CasPLError, advising
from caspl.losses.divergence import REDUCTIONS
from caspl.prompts import Described, Prompts
from caspl.prompts.class_texts import ClassTexts
from caspl.prompts.context import TokenSizes, sizes_within
from caspl.prompts.templates import DATASET_TEMPLATES, checked, fill, template_for
from caspl.step.precision import check_mode
from caspl.towers import CLIP

logger = logging.getLogger(__name__)

DEFAULTS = {
    "IMAGES": "",  # phase 1: the data set whose training images it looks at; empty: this one's own, see train_u
    "TEACHER": "ViT-L/14",  # a name that MODEL.BACKBONE.NAME would take
    "TEACHER_TEMPLATE": "",  # empty: the data set's own
    "TEACHER_SCALE": "student",  # whose logit scale multiplies the teacher's cosines: student (release) | teacher
    "TEMPERATURE": 1.0,
    "REDUCTION": "batchmean",  # of the KL: batchmean (release) | mean
    "N_CTX_VISION": 8,
    "N_CTX_TEXT": 8,
    "PROMPT_DEPTH_VISION": 12,
    "PROMPT_DEPTH_TEXT": 12,
    "CTX_INIT": "a photo of a",  # start of at most 4 boosting text tokens
    "PREC": "fp32",
    "BOOSTING": "",  # phase 2: a boosting file; empty: found below BOOSTING_DIR
    "BOOSTING_DIR": "output/boosting",
    "BOOSTING_DATASET": "",  # phase 2: whose file is found, by DATASET.NAME; empty: the data set's own
    "BOOSTING_SEED": 1,  # phase 2: which run of phase 1 (the release uses seed 1 for every adapting seed)
    "TRAINABLE": False,  # phase 2: let boosting tokens train on (the paper's ablation)
    "REFERENCE": "plain",  # what a method's frozen reference is: plain CLIP (release) | boosted
    **STORE_OPTIONS,
}

CHOICES = {
    "TEACHER_SCALE": ("student", "teacher"),
    "REDUCTION": REDUCTIONS,
    "REFERENCE": ("plain", "boosted"),
}

BOOSTED_PREFIX = "CasPL_"
"""Before a method's name: the method behind boosting tokens."""


def check_options(cfg: CfgNode) -> None:
    """Refuse what the section cannot mean.

    Raises:
        CasPLError: naming the key, its value and the choices.
    """
    options = cfg.TRAINER.CASPL
    for key, choices in CHOICES.items():
        if options[key] not in choices:
            raise CasPLError(f"TRAINER.CASPL.{key} is {' or '.join(choices)}, not {options[key]!r}")
    if options.TEMPERATURE <= 0:
        raise CasPLError(f"TRAINER.CASPL.TEMPERATURE must be above 0, not {options.TEMPERATURE}")
    check_mode(options.PREC)
    if cfg.TEST.FINAL_MODEL not in ("last_step", "best_val"):
        raise CasPLError(f"TEST.FINAL_MODEL is last_step or best_val, not {cfg.TEST.FINAL_MODEL!r}")


def require_validation(trainer: Any) -> None:
    """Refuse to choose the best epoch where there is nothing to choose by: Dassl would take the test images.

    Args:
        trainer: one of Dassl's kind, with its loaders.

    Raises:
        CasPLError: naming the setting.
    """
    cfg = trainer.cfg
    if cfg.TEST.FINAL_MODEL == "best_val" and not cfg.TEST.NO_TEST and trainer.val_loader is None:
        raise CasPLError(
            f"TEST.FINAL_MODEL is best_val, but {cfg.DATASET.NAME} has no validation images, so that test images would "
            "choose the model: use last_step, or give validation images"
        )


def require_labels(dataset: Any) -> None:
    """Refuse a data set whose labels are not the places of its class names: every figure would be wrong.

    Args:
        dataset: one of Dassl's kind; lists of items that it does not have are passed over.

    Raises:
        CasPLError: naming a label.
    """
    classes = len(dataset.classnames)
    for part in ("train_x", "val", "test"):
        labels = {item.label for item in getattr(dataset, part, None) or ()}
        wrong = sorted(label for label in labels if not 0 <= label < classes)
        if wrong:
            raise CasPLError(
                f"{type(dataset).__name__} has {classes} class names, but the label {wrong[0]} among its {part}: "
                "labels are the places of the class names, 0 and up without gaps"
            )


def asked_sizes(options: CfgNode, clip: CLIP) -> tuple[TokenSizes, TokenSizes]:
    """The sizes of text and vision tokens that the section asks for, no deeper than the towers."""
    text = (options.N_CTX_TEXT, options.PROMPT_DEPTH_TEXT)
    return sizes_within(clip, text, (options.N_CTX_VISION, options.PROMPT_DEPTH_VISION))


def boosting_target(cfg: CfgNode, clip: CLIP) -> Path:
    """Where phase 1 writes its file."""
    options, student = cfg.TRAINER.CASPL, cfg.MODEL.BACKBONE.NAME
    return boosting_path(options.BOOSTING_DIR, cfg.DATASET.NAME, student, cfg.SEED, *asked_sizes(options, clip))


def boosting_file(cfg: CfgNode, clip: CLIP, student_hash: str, dataset: Any) -> BoostingFile:
    """The boosting file of this data set and student, checked.

    Tokens of another data set, or learned without some of the classes, are taken with a warning; so are those from
    another split of this one, if the file is named.

    Raises:
        CasPLError: if there is none, or if it belongs to another student or, where it is found, to another split.
    """
    classnames, split = list(dataset.classnames), getattr(dataset, "split_digest", "")
    options, student = cfg.TRAINER.CASPL, cfg.MODEL.BACKBONE.NAME
    sizes = asked_sizes(options, clip)
    with advising("make one with --trainer CasPL, or name one with TRAINER.CASPL.BOOSTING"):
        path = options.BOOSTING or find_boosting(
            options.BOOSTING_DIR, options.BOOSTING_DATASET or cfg.DATASET.NAME, student, options.BOOSTING_SEED, *sizes
        )
        if not Path(path).is_file():
            raise CasPLError(f"no boosting file at {path}")
    if ".pth.tar" in Path(path).name:
        raise CasPLError(
            f"TRAINER.CASPL.BOOSTING {path} is a checkpoint: give the boosting file that it was trained with, "
            f"{options.BOOSTING_DIR}/.../seed{options.BOOSTING_SEED}.safetensors"
        )
    file = read_boosting(path)
    with advising("use that student, or boost this one with --trainer CasPL"):
        file.require_student(student, student_hash)
        file.require_towers(clip)
    if file.header.dataset != cfg.DATASET.NAME:
        logger.warning("the boosting tokens %s were learned for %s", path, file.header.dataset)
    elif split and file.header.split and split != file.header.split:
        found = (
            f"the boosting tokens {path} come from another split of {cfg.DATASET.NAME}, perhaps from its test images"
        )
        if not options.BOOSTING:
            raise CasPLError(f"{found}; if they are meant, name the file with TRAINER.CASPL.BOOSTING; else boost again")
        logger.warning("%s", found)
    unknown = [name for name in classnames if name not in file.header.classnames]
    if file.header.classnames and unknown:
        logger.warning("the boosting tokens %s were learned without the class %s", path, ", ".join(unknown[:3]))
    if file.header.images:
        logger.info("the boosting tokens %s were learned on images of %s", path, file.header.images)
    logger.info("boosting tokens: %s", path)
    return file


def dataset_template(cfg: CfgNode, preferred: str = "", published: Mapping[str, str] = DATASET_TEMPLATES) -> str:
    """The first that is given of ``preferred``, ``DATASET.TEMPLATE`` and what is published for the data set.

    Args:
        published: the list that is looked into, by ``DATASET.NAME``.

    Raises:
        CasPLError: if it does not hold ``{}`` once.
    """
    if preferred or not cfg.DATASET.get("TEMPLATE"):
        return checked(preferred or template_for(cfg.DATASET.NAME, published))
    with advising("it is DATASET.TEMPLATE"):
        return checked(cfg.DATASET.TEMPLATE)


def teacher_template(cfg: CfgNode) -> str:
    """The teacher's text template: as configured, else the data set's."""
    return dataset_template(cfg, cfg.TRAINER.CASPL.TEACHER_TEMPLATE)


def given_texts(cfg: CfgNode) -> ClassTexts | None:
    """What ``DATASET.TEXTS`` says of the classes; None where it is empty, or not a key.

    Raises:
        CasPLError: it is no such file.
    """
    if not cfg.DATASET.get("TEXTS"):
        return None
    with advising("it is DATASET.TEXTS"):
        return ClassTexts.read(cfg.DATASET.TEXTS)


def class_texts(cfg: CfgNode, classnames: Sequence[str], template: str = "") -> list[tuple[str, ...]]:
    """The texts of each class: in a template that is given here, else those of ``DATASET.TEXTS``, else the data set's.

    Raises:
        CasPLError: a class has none.
    """
    given = None if template else given_texts(cfg)
    if given is None:
        return [(text,) for text in fill(dataset_template(cfg, template), classnames)]
    with advising("it is DATASET.TEXTS"):
        return given.of(classnames)


def zero_shot_prompts(cfg: CfgNode, templates: tuple[str, ...]) -> Prompts:
    """What classifies with no learned token: the texts of ``DATASET.TEXTS``, else templates."""
    given = given_texts(cfg)
    return Prompts(templates=templates) if given is None else Prompts(heads=[Described("described", given)])
