"""What the paper claims of each ablation, as comparisons of named settings."""

from __future__ import annotations

from dataclasses import dataclass

from caspl.results.ablations.settings import SETTINGS


@dataclass(frozen=True)
class Claim:
    """``above`` is better than ``below``.

    Attributes:
        ablation: a key of SETTINGS.
        text: the claim in words.
        above: a setting.
        below: settings; several stand for their mean, or with ``best`` for the best of them.
        best: see below.
        measure: hm, base or new.
        paper: the paper's names of ``above`` and ``below`` where it has others.
    """

    ablation: str
    text: str
    above: str
    below: tuple[str, ...]
    best: bool = False
    measure: str = "hm"
    paper: tuple[str, ...] = ()


def _best(ablation: str, text: str, setting: str) -> Claim:
    others = tuple(name for name in SETTINGS[ablation] if name != setting)
    return Claim(ablation, text, setting, others, best=True)


CLAIMS = (
    Claim("depth", "deeper boosting is better, 1 against all layers", "6+6", ("1+6",), paper=("12+12", "1+12")),
    Claim("depth", "deeper adapting is better, 1 against all layers", "6+6", ("6+1",), paper=("12+12", "12+1")),
    _best("length", "8+8 is the best length", "8+8"),
    Claim("trainable", "frozen boosting tokens beat trainable ones", "frozen", ("trainable",)),
    Claim("tokens", "a cascade of 4+4 beats 8 adapting tokens", "4+4", ("8",)),
    Claim("tokens", "a cascade of 8+8 beats 16 adapting tokens", "8+8", ("16",)),
    Claim("images", "more unlabelled images help, 1 a class against all", "all", ("1",)),
    Claim("images", "they go on helping, 32 a class against all", "all", ("32",)),
    Claim("epochs", "new classes lose after 20 epochs, 40 against 20", "20", ("40",), measure="new"),
    _best("temperature", "1 is the best temperature", "1"),
    Claim("domain", "boosting outside the domain helps", "outside", ("none",)),
    Claim("domain", "boosting inside the domain helps more", "inside", ("outside",)),
    Claim("parts", "boosting alone is nearer to the teacher than to the student", "boosting", ("neither", "teacher")),
    Claim("parts", "both beat boosting alone", "both", ("boosting",)),
    Claim("parts", "both beat adapting alone", "both", ("adapting",)),
    Claim("parts", "both beat the zero-shot teacher", "both", ("teacher",)),
)
