"""A run goes on with its own settings alone, also with those that did not exist when it was begun."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from caspl.dassl.outcome import VIEWS, recipe
from caspl.dassl.run_folder import keep_settings
from caspl.errors import CasPLError
from tests.stubs import make_cfg

SECTIONS = {"CASPL": VIEWS, "COOP": None}


def begun(folder: Path, contents: dict[str, str] | None = None, **settings: Any) -> Any:
    cfg = make_cfg("CoOp", "tiny-student", 32, OUTPUT_DIR=str(folder), **settings)
    keep_settings(cfg, SECTIONS, contents)
    (folder / "resume.pt").touch()
    return cfg


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        ({"DATALOADER__SEEDED": False}, {"DATALOADER__SEEDED": True}, "DATALOADER.SEEDED"),
        ({"DATALOADER__SEEDED": True}, {"DATALOADER__SEEDED": False}, "DATALOADER.SEEDED"),
        ({}, {"TRAINER__CASPL__VIEWS": 4}, "TRAINER.CASPL.VIEWS"),
        ({"TRAINER__CASPL__VIEWS": 4}, {}, "TRAINER.CASPL.VIEWS"),
        (
            {"TRAINER__CASPL__VIEWS": 4},
            {"TRAINER__CASPL__VIEWS": 4, "TRAINER__CASPL__VIEWS_EACH": 2},
            "TRAINER.CASPL.VIEWS_EACH",
        ),
        ({}, {"DATASET__TEXTS": "x.json"}, "DATASET.TEXTS"),
        ({"DATASET__TEXTS": "x.json"}, {}, "DATASET.TEXTS"),
        ({}, {"OPTIM__LR": 0.7}, "OPTIM.LR"),
    ],
)
def test_other_settings_are_refused(first: dict[str, Any], second: dict[str, Any], named: str, tmp_path: Path) -> None:
    begun(tmp_path, **first)
    begun(tmp_path, **first)
    with pytest.raises(CasPLError, match=f"a run of other settings.*{named}"):
        begun(tmp_path, **second)


def test_a_folder_of_another_program_is_not_judged(tmp_path: Path) -> None:
    (tmp_path / "resume.pt").touch()
    begun(tmp_path, DATALOADER__SEEDED=True)


def test_files_count_by_what_they_hold(tmp_path: Path) -> None:
    begun(tmp_path, {"DATASET.TEXTS": "one"}, DATASET__TEXTS="x.json")
    begun(tmp_path, {"DATASET.TEXTS": "one"}, DATASET__TEXTS="y.json")
    with pytest.raises(CasPLError, match=r"DATASET\.TEXTS held something else"):
        begun(tmp_path, {"DATASET.TEXTS": "two"}, DATASET__TEXTS="y.json")
    assert json.loads((tmp_path / "contents.json").read_text()) == {"DATASET.TEXTS": "one"}


def test_with_named_views_the_stream_does_not_count(tmp_path: Path) -> None:
    """Runs of one process with PIL draw from it where there are no such views, and there alone."""
    found = {
        (views, seeded): recipe(
            make_cfg("CoOp", "tiny-student", 32, TRAINER__CASPL__VIEWS=views, DATALOADER__SEEDED=seeded), SECTIONS
        )
        for views in (0, 4)
        for seeded in (True, False)
    }
    assert found[4, True] == found[4, False]
    assert found[0, True] != found[0, False]
