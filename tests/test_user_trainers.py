"""``train.py --plugin``: trainers of a user's own file, and their cascades."""

from __future__ import annotations

from pathlib import Path

import pytest

import train
from caspl.results import read_record
from dassl.engine import TRAINER_REGISTRY
from dassl.utils.logger import close_logger
from tests.cases import rows_of_plugins
from tests.conftest import boosting_file
from tests.trainers import test_matrix as matrix

REPO = Path(train.__file__).parent
EXAMPLE = REPO / "docs/examples/anchored.py"
FORK = """
from yacs.config import CfgNode
from dassl.engine import TRAINER_REGISTRY
from tests.plugin.standins import IVLP

@TRAINER_REGISTRY.register()
class ForkedIVLP(IVLP):
    section = "FORKED"

def extend_cfg(cfg):
    sizes = {f"{key}_{tower}": 2 for key in ("N_CTX", "PROMPT_DEPTH") for tower in ("TEXT", "VISION")}
    cfg.TRAINER.FORKED = CfgNode({"CTX_INIT": "a photo of a", **sizes})
"""


def command(plugin: Path, trainer: str, root: Path, clips: dict[str, str], folder: Path, *more: str) -> list[str]:
    # fmt: off
    return [
        "--plugin", str(plugin), "--trainer", trainer, "--root", str(root), "--seed", "1", "--backbone",
        clips["student"], "--dataset-config-file", str(REPO / "configs/datasets/eurosat.yaml"),
        "--config-file", str(REPO / "docs/examples/anchored.yaml") if "AnchoredCoOp" in trainer else
        str(REPO / "configs/trainers/IVLP/tiny.yaml"), "--output-dir", str(folder), *more, "OPTIM.MAX_EPOCH", "2",
        "TRAINER.CASPL.BOOSTING", str(boosting_file(folder.parent / "boosting.safetensors")),
        "DATASET.NUM_SHOTS", "4",
    ]
    # fmt: on


@pytest.mark.parametrize("trainer", ["AnchoredCoOp", "CasPL_AnchoredCoOp"])
def test_the_documented_example_runs(trainer: str, eurosat: Path, clips: dict[str, str], tmp_path: Path) -> None:
    base = command(EXAMPLE, trainer, eurosat, clips, tmp_path / "base", "DATASET.SUBSAMPLE_CLASSES", "base")
    assert train.main(base) == 0
    new = ["--eval-only", "--model-dir", str(tmp_path / "base"), "DATASET.SUBSAMPLE_CLASSES", "new"]
    assert train.main(command(EXAMPLE, trainer, eurosat, clips, tmp_path / "new", *new)) == 0
    close_logger()
    record = read_record(tmp_path / "new" / "result.json")
    assert record.trainer == trainer
    assert record.settings["TRAINER"]["ANCHORED"]["W"] == 8.0
    assert len(EXAMPLE.read_text().splitlines()) <= 40


@pytest.mark.parametrize("boosted", [False, True], ids=["AnchoredCoOp", "CasPL_AnchoredCoOp"])
def test_the_matrix_holds_for_the_example(boosted: bool, clips: dict[str, str], tmp_path: Path) -> None:
    (row,) = rows_of_plugins([str(EXAMPLE)])
    for precision in ("fp32", "bf16", "fp16", "amp"):
        matrix.test_a_step_changes_exactly_what_is_declared(row, boosted, precision, clips, tmp_path / precision)
    matrix.test_save_load_and_new_classes(row, boosted, clips, tmp_path / "load")
    matrix.test_resume_and_eval_only(row, boosted, clips, tmp_path / "resume")


def test_a_trainer_of_another_code_base_is_cascaded_too(eurosat: Path, clips: dict[str, str], tmp_path: Path) -> None:
    """A Dassl trainer with a CLIP of its own, which knows nothing of this library."""
    plugin = tmp_path / "forked_ivlp.py"
    plugin.write_text(FORK)
    run = command(plugin, "CasPL_ForkedIVLP", eurosat, clips, tmp_path / "run")
    assert train.main(run) == 0
    assert TRAINER_REGISTRY.get("CasPL_ForkedIVLP").__module__ == "forked_ivlp"
    evaluate = command(plugin, "CasPL_ForkedIVLP", eurosat, clips, tmp_path / "again",
                       "--eval-only", "--model-dir", str(tmp_path / "run"), "--load-epoch", "2")  # fmt: skip
    assert train.main(evaluate) == 0
    close_logger()
    lines = [
        [line for line in (tmp_path / folder / "log.txt").read_text().splitlines() if "* accuracy" in line]
        for folder in ("run", "again")
    ]
    assert lines[0] == lines[1] != []


def test_wrong_plugins_end_in_a_sentence(
    eurosat: Path, clips: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken_name.py"
    taken.write_text("from dassl.engine import TRAINER_REGISTRY as T\nT.register()(type('CoOp', (), {}))\n")
    json = tmp_path / "json.py"
    json.write_text("")
    for plugin, sentence in (
        (tmp_path / "absent.py", "absent.py (--plugin)"),
        (Path("no_such_module"), "no module no_such_module (--plugin): give the path of a .py file"),
        (taken, 'taken_name.py: An object named "CoOp" was already registered'),
        (json, "there is another module json; rename the file"),
    ):
        assert train.main(command(plugin, "CoOp", eurosat, clips, tmp_path / "run")) == 2
        assert sentence in capsys.readouterr().err


def test_a_plugins_own_missing_import_is_not_hidden(eurosat: Path, clips: dict[str, str], tmp_path: Path) -> None:
    plugin = tmp_path / "needs_something.py"
    plugin.write_text("import something_not_installed\n")
    with pytest.raises(ModuleNotFoundError, match="something_not_installed"):
        train.main(command(plugin, "CoOp", eurosat, clips, tmp_path / "run"))
