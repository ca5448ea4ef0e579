"""A page of a run that boosting and adapting tokens are in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from caspl.demo.columns import side_by_side
from caspl.demo.examples import drawn
from caspl.demo.server import Server
from tests.cases import CASES
from tests.test_front_door import saved


@pytest.fixture
def run(clips: dict[str, str], tmp_path: Path) -> Path:
    """A cascade's folder."""
    saved(CASES[5], True, clips, tmp_path)
    return tmp_path / "run"


@pytest.fixture
def server(run: Path, clips: dict[str, str]) -> Iterator[Server]:
    """Its page, with a teacher, on a free port."""
    shown = side_by_side(run, device="cpu", teacher=clips["teacher"])
    with Server(shown, drawn(), "a run") as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        made.shutdown()
        thread.join()
