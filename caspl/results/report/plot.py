"""Pictures as text or bytes: the same figures make the same bytes, and no text in them is code."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.style
from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the colour of a page's text, whatever that is."""
_FONTS = "'DejaVu Sans', 'Bitstream Vera Sans', "  # the first of matplotlib's list; the page has its own
_STYLE = {
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "grid.alpha": 0.18,
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "caspl",
    # A class may be called "$5": nothing in a name is a formula.
    "text.parse_math": False,
    "savefig.pad_inches": 0.04,
}
_INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")


@contextmanager
def style(ink: str = "black") -> Iterator[None]:
    """In here things are drawn alike on every machine, whatever is set there."""
    with matplotlib.style.context(["default", {**_STYLE, **dict.fromkeys(_INKED, ink)}]):
        yield


def figure(width: float, height: float, fitted: bool = True) -> Figure:
    """An empty one; sizes in inches. What is drawn fits itself in, unless it is placed by hand."""
    return Figure(figsize=(width, height), layout="constrained" if fitted else None)


def render(drawn: Figure, form: str, transparent: bool = False) -> bytes:
    """The bytes of a file without a date.

    Args:
        form: svg, png or pdf.
        transparent: nothing is behind it.
    """
    metadata: dict[str, None] = {
        "svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
        "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
        "png": {"Software": None},
    }[form]
    out = io.BytesIO()
    with warnings.catch_warnings():
        # A letter that the font lacks; in an SVG the reader's own fonts have it.
        warnings.filterwarnings("ignore", message="(?s)Glyph .* missing from")
        drawn.savefig(out, format=form, dpi=150, transparent=transparent, bbox_inches="tight", metadata=metadata)
    return out.getvalue()


def inline(drawn: Figure, prefix: str) -> str:
    """An ``<svg>`` for a page of several: it scales, has the page's ink and font, and its ids begin with ``prefix``."""
    text = render(drawn, "svg", transparent=True).decode("utf-8")
    text = re.sub(r"<style[^>]*>.*?</style>", "", text[text.index("<svg") :], count=1, flags=re.S)

    def fitted(tag: re.Match[str]) -> str:
        """A tag alone: what stands between tags are names, and stays as it is."""
        made = re.sub(r' id="([^"]+)"', rf' id="{prefix}-\1"', tag.group())
        made = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", made)
        made = re.sub(r' (?:xmlns(?::\w+)?|version)="[^"]*"', "", made)
        return made.replace(INK, "currentColor").replace(_FONTS, "")

    text = re.sub(r"<[^>]*>", fitted, text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def label(name: str, longest: int = 40) -> str:
    """A name as it may stand in a picture: on one line, with an end, without signs that XML cannot hold."""
    clean = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in name)
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"
