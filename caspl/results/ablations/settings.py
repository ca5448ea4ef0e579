"""The settings that each ablation compares, and the runs of ``scripts/caspl/ablation.sh`` that they are.

Where both phases vary, a setting is called BOOSTING+ADAPTING, such as 4+8.
"""

from __future__ import annotations

from typing import NamedTuple


class Run(NamedTuple):
    """What records call a run: trainer and config."""

    trainer: str
    config: str


def _run(trainer: str, boosting: str = "", adapting: str = "") -> Run:
    config = "tiny" + (f"_boosting_{boosting}" if boosting else "") + (f"_adapting_{adapting}" if adapting else "")
    return Run(trainer, config)


def _plain(adapting: str = "") -> Run:
    return _run("PromptSRC", "", adapting)


def _cascade(boosting: str = "", adapting: str = "") -> Run:
    return _run("CasPL_PromptSRC", boosting, adapting)


def _change(name: str, value: str, shipped: str) -> str:
    """A changed setting as labels have it; the shipped value has no label."""
    return "" if value == shipped else name + value


DEPTHS = ("1", "2", "4", "6")
LENGTHS = ("2", "4", "8")

SETTINGS: dict[str, dict[str, Run]] = {
    "depth": {
        f"{boosting}+{adapting}": _cascade(_change("depth", boosting, "6"), _change("depth", adapting, "6"))
        for boosting in DEPTHS
        for adapting in DEPTHS
    },
    "length": {
        f"{boosting}+{adapting}": _cascade(_change("length", boosting, "8"), _change("length", adapting, "4"))
        for boosting in LENGTHS
        for adapting in LENGTHS
    },
    "trainable": {"frozen": _cascade(), "trainable": _cascade(adapting="trainable")},
    "tokens": {
        "8": _plain("length8"),
        "4+4": _cascade("length4"),
        "16": _plain("length16"),
        "8+8": _cascade(adapting="length8"),
    },
    "images": {number: _cascade(f"images{number}") for number in ("1", "2", "4", "8", "16", "32")}
    | {"all": _cascade()},
    "epochs": {number: _cascade(_change("epochs", number, "20")) for number in ("5", "10", "20", "40")},
    "temperature": {value: _cascade(_change("temperature", value, "1")) for value in ("0.5", "1", "2", "4")},
    "domain": {"none": _plain(), "outside": _cascade("world"), "inside": _cascade()},
    "parts": {
        "neither": Run("ZeroshotCLIP", "tiny"),
        "boosting": Run("CasPL_ZeroshotCLIP", "tiny"),
        "adapting": _plain(),
        "both": _cascade(),
        "teacher": Run("ZeroshotCLIP", "tiny_teacher"),
    },
}
"""Ablation -> name of a setting -> its run."""

GRIDS = {"depth": DEPTHS, "length": LENGTHS}
"""Ablations that vary both phases, with the values that each phase takes."""
