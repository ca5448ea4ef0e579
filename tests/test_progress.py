"""How far a run is, on a terminal and elsewhere."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

import pytest

from caspl.commands.progress import LINES, Progress, Talk
from caspl.commands.stages import PROGRESS, WARNING


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def follow(talk: Talk, epochs: int, batches: int, every: int = 5) -> None:
    """A phase that says each few batches how far it is, so that the last one is not said."""
    progress = Progress("phase 1, boosting", talk)
    for epoch in range(1, epochs + 1):
        for batch in range(every, batches + 1, every):
            progress.at(epoch, epochs, batch, batches, "0:01:00")
    progress.close("done")


def test_plain_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    follow(Talk(stream), epochs=42, batches=99)
    first, *lines, last = stream.getvalue().splitlines()
    assert (first, last) == ("phase 1, boosting ...", "phase 1, boosting: done")
    assert LINES - 2 <= len(lines) <= LINES
    # A twentieth of 42 * 99 steps is 207.9; that is passed at the 10th of the third epoch.
    assert lines[0] == "phase 1, boosting: epoch 3 of 42, 0:01:00 left"
    stream = io.StringIO()
    follow(Talk(stream), epochs=1, batches=1000)
    lines = stream.getvalue().splitlines()[1:-1]
    assert lines[0] == "phase 1, boosting: epoch 1 of 1, batch 50 of 1000, 0:01:00 left"
    assert len(lines) == LINES


def test_a_bar_ends_full_but_for_a_failure() -> None:
    stream = Terminal()
    follow(Talk(stream), epochs=1, batches=18)
    *_, last = stream.getvalue().strip().split("\r")
    assert "100%" in last
    assert "18/18" in last
    stream = Terminal()
    progress = Progress("phase 1, boosting", Talk(stream))
    progress.at(1, 1, 15, 18)
    progress.close()
    assert "15/18" in stream.getvalue()
    assert "18/18" not in stream.getvalue()


def test_what_has_no_steps_has_no_bar() -> None:
    stream = Terminal()
    Progress("zero-shot CLIP", Talk(stream)).close("done")
    assert stream.getvalue().splitlines() == ["zero-shot CLIP ...", "zero-shot CLIP: done"]


@pytest.mark.skipif(os.name == "nt", reason="terminals")
def test_a_terminal_that_tells_no_size(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, its = os.openpty()
    assert os.get_terminal_size(its).columns == 0
    with os.fdopen(its, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)  # of other streams a bar asks no size
        follow(Talk(stream), epochs=1, batches=18)
    said = b""
    with suppress(OSError):  # Linux' way to say that nobody writes any more
        while part := os.read(mine, 65536):
            said += part
    os.close(mine)
    bars = [part for part in said.decode().split("\r") if part.startswith("phase 1, boosting: ")]
    assert "18/18" in bars[-1]


def test_each_sentence_once() -> None:
    stream = io.StringIO()
    talk = Talk(stream)
    talk.reworded["run phase 1 again"] = "fit again"
    talk.once("note", "run phase 1 again")
    talk.once("warning", "fit again")
    talk.once("warning", "another")
    assert stream.getvalue() == "note: fit again\nwarning: another\n"


def test_what_train_py_says() -> None:
    line = "2026-11-29 14:43:20 epoch [2/3] batch [1/3] time 0.021 (0.021) lr 7.5000e-03 eta 0:01:02\n"
    found = PROGRESS.search(line)
    assert found is not None
    assert found.groups() == ("2", "3", "1", "3", "0:01:02")
    for line, sentence in (
        ("2026-11-29 14:43:20 warning: a red one", "a red one"),
        ("/lib/python/some.py:12: UserWarning: it is old", "it is old"),
        ("2026-11-29 14:43:20 the class warning: sign", None),
    ):
        warned = WARNING.match(line)
        assert (warned and warned[1]) == sentence
