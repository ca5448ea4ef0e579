"""Shapes of which the pictures here are made: SVG as text, readable on light and dark pages."""

from __future__ import annotations

from html import escape

# The card that everything stands on follows the reader's colours, so that nothing depends on what is behind it.
STYLE = """
  .card { fill: #fbfbfc; stroke: #d5d9df } .ink { fill: #1f2328 } .soft { fill: #59636e } .line { stroke: #59636e }
  .frozen { fill: #dfe7f1; stroke: #7d93b2 } .words { fill: #e9e9ec; stroke: #9a9ea6 }
  .boosting { fill: #bcd7f5; stroke: #2f6fb5 } .learned { fill: #ffd9bd; stroke: #c9601f }
  text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px }
  .small { font-size: 11.5px } .title { font-size: 16px; font-weight: 600 } .bold { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #1b1f24; stroke: #3a414b } .ink { fill: #e6e8eb } .soft { fill: #a7b0bb } .line { stroke: #a7b0bb }
    .frozen { fill: #2a3544; stroke: #7d93b2 } .words { fill: #33373d; stroke: #878d96 }
    .boosting { fill: #1f4a78; stroke: #7fb3ee } .learned { fill: #7a3d15; stroke: #f0955a }
  }
"""


def box(x: float, y: float, width: float, height: float, kind: str, text: str = "", more: str = "") -> str:
    """A rounded box with one or two lines in its middle."""
    made = f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"/>'
    middle = y + height / 2
    if text:
        made += write(x + width / 2, middle + (4.5 if not more else -3), text, "ink bold" if more else "ink")
    if more:
        made += write(x + width / 2, middle + 13, more, "soft small")
    return made


def write(x: float, y: float, text: str, kind: str = "ink", anchor: str = "middle") -> str:
    """A line of text."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def arrow(*points: tuple[float, float], dashed: bool = False) -> str:
    """A line through points, with a head at its end."""
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline class="line" points="{path}" fill="none" stroke-width="1.4"{dashes} marker-end="url(#head)"/>'


def picture(width: int, height: int, title: str, says: str, parts: list[str]) -> str:
    """The file: a card with these parts, and what they show in words."""
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-labelledby="title says">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="says">{escape(says)}</desc>',
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="soft" d="M0,0 L8,4 L0,8 z"/></marker></defs>',
        f'<rect class="card" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10"/>',
        *parts,
        "</svg>",
        "",
    ])  # fmt: skip
