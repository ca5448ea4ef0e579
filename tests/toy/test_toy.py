"""A new method is one file (method.py), one YAML (toy.yaml) and one row (ROW): all else, its cascade too, is there."""

from __future__ import annotations

from pathlib import Path

import pytest

import tests.toy.method
import train
from caspl.results import read_record
from dassl.engine import TRAINER_REGISTRY
from dassl.utils.logger import close_logger
from tests.cases import TEXT, Case
from tests.conftest import boosting_file
from tests.trainers import test_matrix as matrix

ROW = Case("Toy", frozenset({TEXT}), {"N_CTX": 3})
HERE = Path(tests.toy.method.__file__).parent
REPO = Path(train.__file__).parent
both = pytest.mark.parametrize("boosted", [False, True], ids=["Toy", "CasPL_Toy"])


@both
def test_the_matrix_holds(boosted: bool, clips: dict[str, str], tmp_path: Path) -> None:
    for precision in matrix.PRECISIONS:
        matrix.test_a_step_changes_exactly_what_is_declared(ROW, boosted, precision, clips, tmp_path / precision)
    matrix.test_precisions_agree(ROW, boosted, clips, tmp_path)
    matrix.test_save_load_and_new_classes(ROW, boosted, clips, tmp_path / "load")
    matrix.test_resume_and_eval_only(ROW, boosted, clips, tmp_path / "resume")


@both
def test_it_runs_from_its_config(boosted: bool, eurosat: Path, clips: dict[str, str], tmp_path: Path) -> None:
    name = "CasPL_Toy" if boosted else "Toy"
    assert TRAINER_REGISTRY.get(name).section == "TOY"
    # fmt: off
    common = [
        "--root", str(eurosat), "--trainer", name, "--seed", "1", "--backbone", clips["student"],
        "--dataset-config-file", str(REPO / "configs/datasets/eurosat.yaml"), "--config-file", str(HERE / "toy.yaml"),
    ]
    # fmt: on
    boosting = str(boosting_file(tmp_path / "boosting.safetensors"))
    base = ["TRAINER.CASPL.BOOSTING", boosting, "DATASET.NUM_SHOTS", "4", "DATASET.SUBSAMPLE_CLASSES", "base"]
    assert train.main([*common, "--output-dir", str(tmp_path / "base"), *base]) == 0
    new = ["--eval-only", "--model-dir", str(tmp_path / "base"), "DATASET.SUBSAMPLE_CLASSES", "new"]
    assert train.main([*common, "--output-dir", str(tmp_path / "new"), *new]) == 0
    close_logger()
    record = read_record(tmp_path / "new" / "result.json")
    assert record.trainer == name
    assert record.settings["TRAINER"]["TOY"]["N_CTX"] == 3
