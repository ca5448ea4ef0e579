"""CONTRIBUTING.md's recipe for a new method, taken by its word: one file, one YAML, one row."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

import train
from caspl.results import read_record
from dassl.utils.logger import close_logger
from tests.cases import CASES, TEXT, VISION, Case
from tests.conftest import boosting_file
from tests.runs import REPO
from tests.trainers import test_matrix as matrix
from trainers.user_modules import load_plugins


def blocks() -> list[str]:
    """The Python blocks of the recipe."""
    text = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return [textwrap.dedent(block) for block in re.findall(r"^ *```python\n(.*?)^ *```$", text, re.M | re.S)]


@pytest.fixture(scope="module")
def method(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "mymethod.py"
    path.write_text(blocks()[0], encoding="utf-8")
    load_plugins([str(path)])
    return path


@pytest.fixture
def row(method: Path) -> Case:
    (found,) = eval(f"({blocks()[1]})", {"Case": Case, "TEXT": TEXT, "VISION": VISION})  # our own document
    assert isinstance(found, Case)
    assert found.trainer not in {case.trainer for case in CASES}
    return found


@pytest.mark.parametrize("boosted", [False, True], ids=["MyMethod", "CasPL_MyMethod"])
def test_the_row_passes_the_matrix(row: Case, boosted: bool, clips: dict[str, str], tmp_path: Path) -> None:
    matrix.test_a_step_changes_exactly_what_is_declared(row, boosted, "fp32", clips, tmp_path)
    matrix.test_save_load_and_new_classes(row, boosted, clips, tmp_path / "load")


@pytest.mark.parametrize("trainer", ["MyMethod", "CasPL_MyMethod"])
def test_the_yaml_trains(method: Path, trainer: str, runs: Any, tmp_path: Path) -> None:
    """As told: a copy of IVLP's with another section and its keys."""
    content = (REPO / "configs/trainers/IVLP/tiny.yaml").read_text().replace("IVLP", "MYMETHOD")
    keys = re.search(r"MYMETHOD:\n((?: {4,}.*\n)*)", content)
    assert keys is not None
    config = tmp_path / "tiny.yaml"
    config.write_text(content.replace(keys.group(1), "    N_CTX: 2\n    DEPTH: 2\n"))
    file = boosting_file(tmp_path / "boosting.safetensors")
    line = runs.arguments(trainer, "IVLP/tiny", "run", "TRAINER.CASPL.BOOSTING", str(file), "OPTIM.MAX_EPOCH", "1")
    line[line.index("--config-file") + 1] = str(config)
    assert train.main(["--plugin", str(method), *line, "DATASET.NUM_SHOTS", "2"]) == 0
    close_logger()
    record = read_record(tmp_path / "run" / "result.json")
    assert record.settings["TRAINER"]["MYMETHOD"] == {
        "N_CTX": 2,
        "DEPTH": 2,
        "CTX_INIT": "a photo of a",
        "PREC": "fp32",
    }
