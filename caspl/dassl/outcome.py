"""Which settings decide a run's outcome, by name, and their hash.

A key that is not named here may change between two attempts at the same run: folders, workers, printing, tests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from yacs.config import CfgNode

from caspl.files.parse import parse_yaml

COUNTED = {
    "": ("SEED",),
    "DATASET": (
        *("NAME", "SUBSAMPLE_CLASSES", "NUM_SHOTS", "SOURCE_DOMAINS", "TARGET_DOMAINS", "NUM_LABELED", "VAL_PERCENT"),
        *("STL10_FOLD", "CIFAR_C_TYPE", "CIFAR_C_LEVEL", "ALL_AS_UNLABELED", "TEMPLATE", "TEXTS"),
    ),
    "DATASET.FOLDER": ("LIST", "CLASSNAMES", "RATIOS", "SPLIT_SEED", "UNLABELLED", "CLASSES", "TRAINED_CLASSES"),
    "INPUT": (
        *("SIZE", "INTERPOLATION", "BACKEND", "TRANSFORMS", "NO_TRANSFORM", "PIXEL_MEAN", "PIXEL_STD"),
        *("CROP_PADDING", "RRCROP_SCALE", "CUTOUT_N", "CUTOUT_LEN", "GN_MEAN", "GN_STD", "RANDAUGMENT_N"),
        *("RANDAUGMENT_M", "COLORJITTER_B", "COLORJITTER_C", "COLORJITTER_S", "COLORJITTER_H", "RGS_P", "GB_P"),
        "GB_K",
    ),
    "DATALOADER": ("SEEDED", "K_TRANSFORMS", "RETURN_IMG0", "CACHE_SHORT_SIDE"),
    "DATALOADER.TRAIN_X": ("SAMPLER", "BATCH_SIZE", "N_DOMAIN", "N_INS"),
    "DATALOADER.TRAIN_U": ("SAME_AS_X", "SAMPLER", "BATCH_SIZE", "N_DOMAIN", "N_INS"),
    "MODEL": ("INIT_WEIGHTS",),
    "MODEL.BACKBONE": ("NAME", "PRETRAINED"),
    "MODEL.HEAD": ("NAME", "HIDDEN_LAYERS", "ACTIVATION", "BN", "DROPOUT"),
    "OPTIM": (
        *("NAME", "LR", "WEIGHT_DECAY", "MOMENTUM", "SGD_DAMPNING", "SGD_NESTEROV", "RMSPROP_ALPHA", "ADAM_BETA1"),
        *("ADAM_BETA2", "STAGED_LR", "NEW_LAYERS", "BASE_LR_MULT", "LR_SCHEDULER", "STEPSIZE", "GAMMA", "MAX_EPOCH"),
        *("WARMUP_EPOCH", "WARMUP_TYPE", "WARMUP_CONS_LR", "WARMUP_MIN_LR", "WARMUP_RECOUNT"),
    ),
    "TRAIN": ("COUNT_ITER",),
    "TEST": ("FINAL_MODEL",),
    "TRAINER": ("NAME",),
}
"""Section -> its keys that count in every run."""

VIEWS = ("VIEWS", "VIEWS_EACH", "VIEW_SEED")
"""Those of ``TRAINER.CASPL`` that count in any phase; a store gives the same bits as none."""
PHASE_1 = (
    *("IMAGES", "TEACHER", "TEACHER_TEMPLATE", "TEACHER_SCALE", "TEMPERATURE", "REDUCTION", "N_CTX_VISION"),
    *("N_CTX_TEXT", "PROMPT_DEPTH_VISION", "PROMPT_DEPTH_TEXT", "CTX_INIT", "PREC"),
    *VIEWS,
)
VIEWED = tuple(f"TRAINER.CASPL.{key}" for key in VIEWS)
SEEDED = "DATALOADER.SEEDED"
LATER = (SEEDED, *VIEWED, "DATASET.TEXTS")
"""Keys that are left out at the value that all runs had before there were these keys."""
PHASE_2 = (
    *("BOOSTING", "BOOSTING_DATASET", "BOOSTING_SEED", "TRAINABLE", "REFERENCE"),
    *("N_CTX_VISION", "N_CTX_TEXT", "PROMPT_DEPTH_VISION", "PROMPT_DEPTH_TEXT"),  # they choose among several files
    *VIEWS,
)
"""Keys of ``TRAINER.CASPL`` that count in each phase."""

Sections = Mapping[str, tuple[str, ...] | None]
"""Section under ``TRAINER`` that a trainer reads -> its keys that count; None for all."""


def settings(text: str, sections: Sections) -> dict[str, str]:
    """The settings of a dumped config that decide a run's outcome: key -> value as JSON.

    Args:
        text: the config as YAML.
        sections: what the trainer reads; other methods' settings do not matter.
    """
    found = {key: json.dumps(value) for key, value in leaves(parse_yaml(text))}
    if found.get(VIEWED[0], "0") == "0":  # drawn anew each time: so it was in runs before there were these keys
        found = {key: value for key, value in found.items() if key not in VIEWED}
    else:  # nothing is drawn from torch's stream
        found.pop(SEEDED, None)
    if found.get(VIEWED[1]) == "1":  # likewise
        del found[VIEWED[1]]
    if found.get(SEEDED) == "false" or found.get("INPUT.BACKEND") == '"tensor"':  # likewise
        found.pop(SEEDED, None)
    if found.get("DATASET.TEXTS") == '""':  # likewise
        del found["DATASET.TEXTS"]
    return {key: value for key, value in found.items() if _counts(key, sections)}


def recipe(cfg: CfgNode, sections: Sections) -> str:
    """Short hash of the settings that decide a run's outcome."""
    return hashlib.sha256(json.dumps(settings(cfg.dump(), sections), sort_keys=True).encode()).hexdigest()[:16]


def leaves(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``KEY.SUB`` -> value of every leaf of a nested config."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def known_leaves(cfg: CfgNode, sections: Collection[str]) -> Iterator[tuple[str, Any]]:
    """As :func:`leaves`, of what is known here.

    Args:
        sections: those under ``TRAINER`` that are; a user's own keys may mean anything.
    """
    for key, value in leaves(cfg):
        section, _, name = key.removeprefix("TRAINER.").partition(".")
        if not key.startswith("TRAINER.") or section in sections:
            yield key, value


def each(value: Any) -> list[Any]:
    """The values that a leaf holds: those of a list, or itself."""
    return list(value) if isinstance(value, list | tuple) else [value]


def _counts(key: str, sections: Sections) -> bool:
    section, _, name = key.rpartition(".")
    if name in COUNTED.get(section, ()):
        return True
    parts = section.split(".")
    if parts[0] != "TRAINER" or len(parts) < 2 or parts[1] not in sections:
        return False
    keys = sections[parts[1]]
    return keys is None or name in keys
