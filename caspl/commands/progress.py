"""How far a run is: a bar where a terminal is, plain lines elsewhere, and each warning once."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TextIO

from tqdm import tqdm

from caspl.terminal import shape

LINES = 20
"""At most, of a phase, where no terminal is."""


class Talk:
    """What several runs say to one who looks: each sentence once.

    Args:
        stream: where to; by default standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.reworded: dict[str, str] = {}
        self._said: set[str] = set()

    def line(self, text: str) -> None:
        """A line of its own; a bar steps aside."""
        tqdm.write(text, file=self.stream)
        self.stream.flush()

    def once(self, kind: str, sentence: str) -> None:
        """A note or a warning, unless it was said, by whatever run."""
        sentence = reword(sentence, self.reworded)
        if sentence not in self._said:
            self._said.add(sentence)
            self.line(f"{kind}: {sentence}")


def reword(sentence: str, reworded: Mapping[str, str]) -> str:
    """A sentence with some words replaced by others."""
    for words, others in reworded.items():
        sentence = sentence.replace(words, others)
    return sentence


class Progress:
    """Of one run.

    Args:
        title: of the run.
        talk: where it is shown.
    """

    def __init__(self, title: str, talk: Talk) -> None:
        self.title, self.talk = title, talk
        self._bar: tqdm[None] | None = None  # made when the number of steps is known: some runs have none
        self._shown = 0
        talk.line(f"{title} ...")

    def at(self, epoch: int, epochs: int, batch: int, batches: int, left: str = "") -> None:
        """Show a step.

        Args:
            epoch, batch: the present ones, from 1.
            epochs, batches: how many there are, the latter of an epoch.
            left: the time that it still takes.
        """
        done, total = (epoch - 1) * batches + batch, epochs * batches
        if not self.talk.stream.isatty():
            part = done * LINES // total
            if part > self._shown:
                self._shown = part
                of = "" if epochs >= LINES else f", batch {batch} of {batches}"
                self.talk.line(f"{self.title}: epoch {epoch} of {epochs}{of}{left and f', {left} left'}")
            return
        if self._bar is None:
            # What an earlier call has done says nothing of the speed.
            stream = self.talk.stream
            columns, rows = shape(stream)
            size = {"ncols": columns, "nrows": rows}
            self._bar = tqdm(total=total, initial=done, desc=self.title, unit="step", file=stream, **size)
        self._bar.update(done - self._bar.n)

    def close(self, end: str = "") -> None:
        """No more steps come.

        Args:
            end: what has come of the run; without it, it has failed. A bar is full where it has not.
        """
        if self._bar is not None:
            if end and self._bar.total is not None:
                self._bar.update(self._bar.total - self._bar.n)
            self._bar.close()
        elif end:
            self.talk.line(f"{self.title}: {end}")
