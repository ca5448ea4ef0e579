"""Which numbers a config's keys can hold: asked before anything is read or written."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, NamedTuple

from yacs.config import CfgNode

from caspl.dassl.outcome import each, known_leaves
from caspl.errors import CasPLError


class Range(NamedTuple):
    """From ``least`` to ``most``.

    Args:
        least, most: bounds that belong to it; infinite where there is none.
        above: a bound that does not belong to it.
        hint: what a special value means.
    """

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    hint: str = ""

    def holds(self, number: float) -> bool:
        """Whether a number is in it."""
        return self.least <= number <= self.most and number > self.above and math.isfinite(number)

    def __str__(self) -> str:
        if self.above > -math.inf:
            words = f"above {self.above:g}" + (f" and at most {self.most:g}" if self.most < math.inf else "")
        elif self.most < math.inf:
            words = f"{self.least:g} to {self.most:g}"
        else:
            words = f"{self.least:g} or more" if self.least > -math.inf else "a finite number"
        return words + (f" ({self.hint})" if self.hint else "")


ANY, COUNT, SOME, SHARE = Range(), Range(0), Range(1), Range(0, 1)
POSITIVE = Range(above=0)
ALL = Range(-1, hint="-1: all")

RANGES = {
    "VERSION": ANY,
    "SEED": Range(-1, hint="-1: none"),
    "SIZE": SOME,
    "PIXEL_MEAN": ANY,
    "PIXEL_STD": POSITIVE,
    "CROP_PADDING": COUNT,
    "RRCROP_SCALE": Range(most=1, above=0),
    "CUTOUT_N": COUNT,
    "CUTOUT_LEN": SOME,
    "GN_MEAN": ANY,
    "GN_STD": COUNT,
    "RANDAUGMENT_N": SOME,
    "RANDAUGMENT_M": Range(0, 30),
    "COLORJITTER_B": COUNT,
    "COLORJITTER_C": COUNT,
    "COLORJITTER_S": COUNT,
    "COLORJITTER_H": Range(0, 0.5),
    "RGS_P": SHARE,
    "GB_P": SHARE,
    "GB_K": SOME,
    "NUM_LABELED": ALL,
    "NUM_SHOTS": Range(-1, hint="-1 and 0: all images"),
    "VAL_PERCENT": SHARE,
    "STL10_FOLD": ALL,
    "CIFAR_C_LEVEL": SOME,
    "RATIOS": SHARE,
    "SPLIT_SEED": ANY,
    "NUM_WORKERS": COUNT,
    "K_TRANSFORMS": SOME,
    "CACHE_BYTES": COUNT,
    "CACHE_SHORT_SIDE": COUNT,
    "BATCH_SIZE": SOME,
    "N_DOMAIN": COUNT,
    "N_INS": SOME,
    "DROPOUT": SHARE,
    "LR": POSITIVE,
    "WEIGHT_DECAY": COUNT,
    "MOMENTUM": SHARE,
    "SGD_DAMPNING": COUNT,
    "RMSPROP_ALPHA": SHARE,
    "ADAM_BETA1": SHARE,
    "ADAM_BETA2": SHARE,
    "BASE_LR_MULT": COUNT,
    "STEPSIZE": ALL,
    "GAMMA": COUNT,
    "MAX_EPOCH": SOME,
    "WARMUP_EPOCH": Range(-1, hint="-1: none"),
    "WARMUP_CONS_LR": COUNT,
    "WARMUP_MIN_LR": COUNT,
    "CHECKPOINT_FREQ": ANY,
    "PRINT_FREQ": ANY,
    "TEMPERATURE": POSITIVE,
    "BOOSTING_SEED": COUNT,
    "N_CTX": COUNT,
    "N_CTX_VISION": COUNT,
    "N_CTX_TEXT": COUNT,
    "PROMPT_DEPTH": COUNT,
    "PROMPT_DEPTH_VISION": COUNT,
    "PROMPT_DEPTH_TEXT": COUNT,
    "N_ADD_OP": SOME,
    "N_RM_OP": COUNT,
    "TEXT_LOSS_WEIGHT": COUNT,
    "IMAGE_LOSS_WEIGHT": COUNT,
    "GPA_MEAN": ANY,
    "GPA_STD": POSITIVE,
    "TEXT_MEMORY": COUNT,
    "C": Range(0, hint="0: chosen on validation images"),
    "MAX_ITER": SOME,
    "ALPHA": COUNT,
    "BETA": COUNT,
    "VIEWS": SOME,
    "TRAINER.CASPL.VIEWS": Range(0, hint="0: drawn anew each time"),
    "VIEWS_EACH": SOME,
    "VIEW_SEED": COUNT,
    "STORE_BYTES": COUNT,
    "SEARCH_SCALE": POSITIVE,
    "SEARCH_STEP": SOME,
    "EPS": POSITIVE,
    "K_MAX": SOME,
    "KD_WEIGHT": POSITIVE,
    "SHOTS": Range(-1, hint="-1 and 0: all images"),
    "W": COUNT,
    "T": POSITIVE,
    "LAMBDA": COUNT,
    "LAYER": COUNT,
    "ADAM_EPS": POSITIVE,
    "DIV": COUNT,
    "TOP_K": Range(0, hint="0: all classes"),
    "COSINE_WEIGHT": COUNT,
    "PCD_WEIGHT": COUNT,
    "MARGIN": COUNT,
    "L": SOME,
    "KL_WEIGHT": COUNT,
    "WEIGHT": COUNT,
    "LASP_LOSS_WEIGHT": COUNT,
    "NOISE": SHARE,
    "CLIP_NORM": COUNT,
}
"""A key, or its last part -> what it, or each of its numbers, can be; a key that is not here is not judged."""


LENGTHS = {
    **{"SIZE": 2, "RRCROP_SCALE": 2, "SEARCH_SCALE": 2, "SEARCH_STEP": 2},
    **{"PIXEL_MEAN": 3, "PIXEL_STD": 3, "RATIOS": 3},
}
"""Last part of a key that holds several numbers -> how many; others hold at least one."""


def check_ranges(cfg: CfgNode, sections: Collection[str]) -> None:
    """Refuse numbers that their keys cannot mean.

    Args:
        sections: those under ``TRAINER`` that are known here; a user's own keys may mean anything.

    Raises:
        CasPLError: naming the key, what it can be, and what it is.
    """
    for key, value in known_leaves(cfg, sections):
        name = key.rpartition(".")[2]
        allowed, count = RANGES.get(key, RANGES.get(name)), LENGTHS.get(name)
        if allowed is None:
            continue
        if isinstance(value, list | tuple) and (len(value) != count if count else not value):
            raise CasPLError(f"{key} holds {count or 'at least one'} number{'s' if count else ''}, not {value}")
        if not all(_is_number(number) and allowed.holds(number) for number in each(value)):
            raise CasPLError(f"{key} must be {allowed}, not {value}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
