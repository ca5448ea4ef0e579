"""Captions for the scenes of the general world."""

from __future__ import annotations

import numpy as np

from caspl.prompts.templates import ENSEMBLE
from caspl.tiny import colours, shapes
from caspl.tiny.world import Scenes

OPENINGS = ("", "", "a photo of ", "an image of ", "a picture of ", "a view of ")


def _maybe(rng: np.random.Generator, chance: float) -> bool:
    return bool(rng.random() < chance)


def caption(rng: np.random.Generator, scenes: Scenes, i: int) -> tuple[str, bool]:
    """One caption for scene `i`, and whether it tells the ground.

    It always tells structure and colour, sometimes ground, size, stroke, view and quality.
    """
    colour, shape = colours.NAMES[scenes.colour[i]], shapes.NAMES[scenes.shape[i]]
    ground = colours.NAMES[scenes.ground[i]]
    words: list[str] = []
    if _maybe(rng, 0.35):
        if scenes.period[i] < 8.5:
            words.append("small")
        elif scenes.period[i] > 13:
            words.append("large")
        elif scenes.thickness[i] < 0.3:
            words.append("thin")
        elif scenes.thickness[i] > 0.7:
            words.append("thick")
    words += [colour, shape]
    text = " ".join(words)
    told = _maybe(rng, 0.55)
    if told:
        text += rng.choice((f" on {ground}", f" on a {ground} ground", f" over {ground}"))
    if _maybe(rng, 0.15):  # the stock templates of prompt learning must not be strange to the text tower
        return str(rng.choice(ENSEMBLE)).format(text), told
    return _opening(rng, scenes, i) + text + ".", told


def _opening(rng: np.random.Generator, scenes: Scenes, i: int) -> str:
    quality: list[str] = []
    if scenes.noise[i] > 0.07:
        quality.append("noisy")
    if scenes.soft[i] > 0.7:
        quality.append("blurry")
    if scenes.haze[i] > 0.25:
        quality.append("hazy")
    if scenes.light[i] < 0.75:
        quality.append("dark")
    if quality and _maybe(rng, 0.3):
        return f"a {rng.choice(quality)} photo of "
    if _maybe(rng, 0.25):
        return "a slanted photo of " if scenes.slanted[i] else "an overhead photo of "
    return str(rng.choice(OPENINGS))


def captions(rng: np.random.Generator, scenes: Scenes) -> tuple[list[str], np.ndarray]:
    """One caption for each scene, and which of them tell the ground."""
    pairs = [caption(rng, scenes, i) for i in range(len(scenes))]
    return [text for text, _ in pairs], np.array([told for _, told in pairs])


def every_text() -> list[str]:
    """Texts that together hold every word of the general world's captions."""
    texts = [f"a {word} photo of" for word in ("noisy", "blurry", "hazy", "dark", "slanted", "overhead")]
    texts += [*OPENINGS, *colours.NAMES, *shapes.NAMES, *(line.format("red") for line in ENSEMBLE)]
    return [*texts, "small large thin thick", "red on a blue ground over green."]
