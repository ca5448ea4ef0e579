"""The figures that the CasPL paper reports, from the small tables packaged beside this module.

Means over three seeds; student ViT-B/16, teacher ViT-L/14, both OpenAI's. ``base2new`` is at 16 shots. There PromptKD's
are of its own paper (arXiv 2403.02781); its HM by data set, which is not printed, is that of the two.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

from caspl.errors import CasPLError

SHOTS = 16
TABLES = ("base2new", "few_shot", "domain_generalization", "ablations")
_SHORT_NAMES = {"describabletextures": "dtd"}


@cache
def rows(table: str) -> tuple[dict[str, str], ...]:
    """The lines of one of ``TABLES``, by column name."""
    if table not in TABLES:
        raise CasPLError(f"the paper has no table {table!r} here; there are {', '.join(TABLES)}.")
    file = resources.files("caspl.results") / "paper" / f"{table}.csv"
    return tuple(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def dataset_key(name: str) -> str:
    """One spelling for a data set's registered name and its config file: EuroSAT is eurosat, OxfordPets oxford_pets."""
    key = name.lower().replace("_", "").replace("-", "")
    return _SHORT_NAMES.get(key, key)


def dataset_order() -> list[str]:
    """The keys of the paper's data sets in the paper's order; "average" is not among them."""
    return list(dict.fromkeys(dataset_key(row["dataset"]) for row in rows("base2new") if row["dataset"] != "average"))


def base_to_new(dataset: str, trainer: str) -> tuple[float, float, float] | None:
    """Base, new and HM of a trainer on a data set (or "average" over the eleven); None if the paper has none."""
    method = "CLIP" if trainer == "ZeroshotCLIP" else trainer
    for row in rows("base2new"):
        if dataset_key(row["dataset"]) == dataset_key(dataset) and row["method"] == method:
            return float(row["base"]), float(row["novel"]), float(row["hm"])
    return None


def trainer_of(method: str) -> str:
    """What the paper's method is called here."""
    ours = {"CLIP": "ZeroshotCLIP", "CLIP+boosting": "CasPL_ZeroshotCLIP", "LinearProbe": "LinearProbeCLIP"}
    return ours.get(method, method)


def ablation_measure(ablation: str) -> str:
    """What the paper's figures of an ablation are: hm, or another measure; hm where it has none."""
    return next((row["measure"] for row in rows("ablations") if row["ablation"] == ablation), "hm")


def ablation_figure(ablation: str, setting: str) -> float | None:
    """The paper's figure of one setting of an ablation of PromptSRC's cascade; None if the paper has none."""
    for row in rows("ablations"):
        if (row["ablation"], row["setting"]) == (ablation, setting):
            return float(row["value"])
    return None
