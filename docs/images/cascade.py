"""Draws cascade.svg, the two phases side by side: ``python docs/images/cascade.py``."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from shapes import arrow, box, picture, write  # noqa: E402

FILE = HERE / "cascade.svg"
WIDTH, HEIGHT = 960, 470
SAYS = (
    "Phase 1: over unlabelled images, boosting tokens of a small CLIP learn to answer as a large CLIP does; both CLIPs "
    "are frozen. Phase 2: the boosting tokens are frozen, and adapting tokens, in front of them in the text tower and "
    "behind them in the image tower, learn from a few labelled images."
)


def draw() -> str:
    """The text of the file."""
    return picture(WIDTH, HEIGHT, "The cascade of prompts", SAYS, [*_phase1(24), *_phase2(494), *_key(24, 436)])


def _phase1(x: float) -> list[str]:
    return [
        write(x, 34, "Phase 1: boosting", "ink title", "start"),
        write(x, 54, "unlabelled images of the domain; once for all methods", "soft", "start"),
        *_towers(x, "boosting", learned=True),
        box(x, 318, 200, 44, "frozen", "teacher", "large CLIP, frozen"),
        arrow((x + 100, 362), (x + 100, 388), (x + 164, 388)),
        box(x + 166, 372, 260, 34, "words", "distillation: student like teacher"),
        arrow((x + 426, 194), (x + 442, 194), (x + 442, 389), (x + 428, 389)),
        write(x + 436, 344, "student's logits", "soft small", "end"),
    ]


def _phase2(x: float) -> list[str]:
    return [
        f'<line class="line" x1="{x - 17:g}" y1="24" x2="{x - 17:g}" y2="412" stroke-dasharray="2 4"/>',
        write(x, 34, "Phase 2: adapting", "ink title", "start"),
        write(x, 54, "a few labelled images; the same for any method X", "soft", "start"),
        *_towers(x, "both", learned=False),
        box(x, 372, 140, 34, "words", "labels"),
        arrow((x + 142, 389), (x + 164, 389)),
        box(x + 166, 372, 260, 34, "words", "losses of X: cross-entropy, ..."),
        arrow((x + 426, 194), (x + 442, 194), (x + 442, 389), (x + 428, 389)),
        write(x + 436, 344, "logits", "soft small", "end"),
    ]


def _towers(x: float, tokens: str, learned: bool) -> list[str]:
    """A student: a row of tokens and a tower for words, another for images, and where the two meet."""
    boosting = "learned" if learned else "boosting"
    adapting = tokens == "both"
    text = [("words", "SOS", 44), *([("learned", "adapting", 84)] if adapting else []),
            (boosting, "boosting", 84), ("words", "class words, EOS", 124)]  # fmt: skip
    image = [("words", "CLS", 44), ("words", "patches", 84), (boosting, "boosting", 84),
             *([("learned", "adapting", 84)] if adapting else [])]  # fmt: skip
    made = []
    for place, (name, row) in enumerate((("text", text), ("image", image))):
        y = 76 + 112 * place
        at = x
        for kind, word, width in row:
            made.append(box(at, y, width, 30, kind, word))
            at += width + 5
        end = x + 168
        made.append(arrow((end, y + 30), (end, y + 48)))
        made.append(box(x, y + 50, 336, 40, "frozen", f"{name} tower of CLIP, frozen"))
        made.append(arrow((x + 336, y + 70), (x + 374, y + 70), (x + 374, 176 if place == 0 else 268)))
    # Text comes from above, images from below, so that both arrows end at the comparison.
    made[-1] = arrow((x + 336, 258), (x + 374, 258), (x + 374, 212))
    made.append(box(x + 350, 178, 76, 32, "words", "cosine"))
    return made


def _key(x: float, y: float) -> list[str]:
    made = []
    for kind, text, width in (("frozen", "frozen", 96), ("boosting", "boosting tokens, frozen", 200),
                              ("learned", "tokens that learn", 164), ("words", "inputs and losses", 150)):  # fmt: skip
        made.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="18" height="14" rx="3"/>')
        made.append(write(x + 25, y + 12, text, "soft", "start"))
        x += width
    return made


if __name__ == "__main__":
    FILE.write_text(draw(), encoding="utf-8")
