"""Methods that run class texts twice in a step: both passes share the memory that there is for texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases import CASES
from tests.trainers.building import build


@pytest.mark.parametrize("name", ["LASP", "COMMA"])
def test_the_budget_is_shared(name: str, clips: dict[str, str], tmp_path: Path) -> None:
    case = next(case for case in CASES if case.trainer == name)
    trainer = build(case, False, clips, tmp_path, TRAIN__TEXT_MEMORY=6)
    assert trainer.model.text_budget == 3 * 2**20
    trainer.start()  # again, as a run that goes on
    assert trainer.model.text_budget == 3 * 2**20
    further = getattr(trainer, "more_names", None)
    assert further is None or further.text_budget == 3 * 2**20
