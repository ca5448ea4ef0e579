"""Settings written for the authors' release, read as ours: its section ``KD``, and phase 1 under ``TRAINER.IVLP``."""

from __future__ import annotations

import logging

from yacs.config import CfgNode

from caspl.dassl.section import BOOSTED_PREFIX
from caspl.errors import CasPLError

logger = logging.getLogger(__name__)

KD = {
    "FIRST_TRAIN": False,
    "SECOND_TRAIN": False,
    "BACKBONE_NAME": "ViT-L/14",
    "TEMPERATURE": 1.0,
    "IS_TEST": False,
    "N_CTX_VISION": 8,
    "N_CTX_TEXT": 8,
    "CTX_INIT": "a photo of a",
    "PREC": "fp16",
    "PROMPT_DEPTH_VISION": 12,
    "PROMPT_DEPTH_TEXT": 12,
    "RESULT_PATH": "results_path",
    "DIR_NAME": "dirname&1",
    "SECOND_PARAMETER_USE": False,
    "USE_IVLP": False,
    "USE_DATASET_LIST": 0,
}
"""The release's section and its defaults. It is there while files and pairs are merged, and then translated away."""

SIZES = ("N_CTX_VISION", "N_CTX_TEXT", "PROMPT_DEPTH_VISION", "PROMPT_DEPTH_TEXT")
# Key of KD -> key of TRAINER.CASPL. In phase 2 the sizes choose among several boosting files.
PHASE_1 = {"BACKBONE_NAME": "TEACHER", "TEMPERATURE": "TEMPERATURE"}
PHASE_2 = {"SECOND_PARAMETER_USE": "TRAINABLE"} | {size: size for size in SIZES}
CHECKED = {"FIRST_TRAIN", "SECOND_TRAIN", "USE_DATASET_LIST"}


def translate(cfg: CfgNode, given: set[str]) -> None:
    """Take what the release's keys mean over into ``TRAINER.CASPL`` and remove ``KD``, in place.

    Args:
        given: keys that files and pairs have set; those that a file of phase 1 means are added.

    Raises:
        CasPLError: if the phase is not the trainer's, if test images are to be trained on, or if a setting is given
            in both sections with different values.
    """
    kd, trainer = cfg.pop("KD"), cfg.TRAINER.NAME
    asked = {key.removeprefix("KD.") for key in given if key.startswith("KD.")}
    phases = {"FIRST_TRAIN": trainer == "CasPL", "SECOND_TRAIN": trainer.startswith(BOOSTED_PREFIX)}
    for key in sorted(asked & phases.keys()):
        if kd[key] != phases[key]:
            raise CasPLError(
                f"KD.{key} {kd[key]} does not go with the trainer {trainer}: CasPL is the first phase, and "
                f"{BOOSTED_PREFIX}<method> the second; leave it out"
            )
    if kd.USE_DATASET_LIST:
        raise CasPLError(f"KD.USE_DATASET_LIST {kd.USE_DATASET_LIST} would train on the test images; leave it out")
    if phases["FIRST_TRAIN"]:
        _take_phase_1_file(cfg, given)
    meaning = PHASE_1 if phases["FIRST_TRAIN"] else PHASE_2 if phases["SECOND_TRAIN"] else {}
    for key in sorted(asked & meaning.keys()):
        ours = f"TRAINER.CASPL.{meaning[key]}"
        there = cfg.TRAINER.CASPL[meaning[key]]
        if ours in given and there != kd[key]:
            raise CasPLError(f"KD.{key} is {kd[key]!r}, but {ours}, which means the same, is {there!r}; leave one out")
        cfg.TRAINER.CASPL[meaning[key]] = kd[key]
    unused = sorted(f"KD.{key}" for key in asked - meaning.keys() - CHECKED)
    if unused:
        logger.warning("not used, since they mean nothing for %s here: %s", trainer, ", ".join(unused))


def _take_phase_1_file(cfg: CfgNode, given: set[str]) -> None:
    """The release's files of phase 1 hold sizes, words and precision in ``TRAINER.IVLP``."""
    for key in (*SIZES, "CTX_INIT", "PREC"):
        ours = f"TRAINER.CASPL.{key}"
        if f"TRAINER.IVLP.{key}" not in given:
            continue
        if ours not in given:
            cfg.TRAINER.CASPL[key] = cfg.TRAINER.IVLP[key]
            given.add(ours)
        elif cfg.TRAINER.CASPL[key] != cfg.TRAINER.IVLP[key]:
            logger.warning("TRAINER.IVLP.%s is not used: %s is given too, and phase 1 takes that", key, ours)
