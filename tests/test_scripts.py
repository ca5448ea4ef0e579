"""The drivers, as a user calls them, on EuroSAT's layout with real pictures and CLIPs of ViT-B/16 and L/14 shape."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import save_file

from caspl.towers import Sizes, random_state_dict
from tests.datasets.digits import write_eurosat_digits

REPO = Path(__file__).parents[1]
SCRIPT = REPO / "scripts/caspl/base2new.sh"
# Patches, layers and resolution as published; widths cut down.
VIT_B16 = Sizes(64, 224, 16, vision_width=64, vision_layers=12, text_width=64, text_layers=12)
VIT_L14 = Sizes(96, 224, 14, vision_width=64, vision_layers=24, text_width=64, text_layers=12)


def run(arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments], env=os.environ | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    weights = tmp_path / "weights"
    weights.mkdir()
    save_file(random_state_dict(VIT_B16, 0), weights / "ViT-B-16.safetensors")
    save_file(random_state_dict(VIT_L14, 1), weights / "ViT-L-14.safetensors")
    write_eurosat_digits(tmp_path / "data", 8)
    return {
        "DATA": str(tmp_path / "data"),
        "OUTPUT": str(tmp_path / "output"),
        "CASPL_WEIGHTS": str(weights),
        "PYTHON": sys.executable,
        "SHOTS": "2",
        "OMP_NUM_THREADS": "2",
        "PYTHONPATH": str(REPO),
    }


def test_base2new_with_the_published_configs(environment: dict[str, str], tmp_path: Path) -> None:
    """Everything as shipped (8+8 tokens, depth 12, batch 4, fp16) but the number of epochs and of workers."""
    short = ["OPTIM.MAX_EPOCH", "2", "DATALOADER.NUM_WORKERS", "0"]
    environment["BOOST_OPTIONS"] = " ".join(short)
    done = run(["eurosat", "1", "CasPL_PromptSRC", *short], environment)
    assert done.returncode == 0, done.stdout + done.stderr
    output = tmp_path / "output"
    tail = "eurosat/shots_2/CasPL_PromptSRC/vit_b16_c2_ep20_batch4_8+8ctx_l12/seed1/result.json"
    records = [json.loads((output / "base2new" / kind / tail).read_text()) for kind in ("train_base", "test_new")]
    assert [record["classes"] for record in records] == ["base", "new"]
    assert all(record["settings"]["TRAINER"]["PROMPTSRC"]["N_CTX_TEXT"] == 8 for record in records)
    assert (
        output / "boosting/vit_b16_c2_ep20_batch4_8+8ctx_l12/EuroSAT/vit_b_16/text8x12_vision8x12/seed1.safetensors"
    ).is_file()

    again = run(["eurosat", "1", "CasPL_PromptSRC", *short], environment)
    assert again.returncode == 0
    assert again.stdout.count("done before") == 3
    last = [line for line in done.stdout.splitlines() if line.startswith("CasPL_PromptSRC")][-1]
    assert last in again.stdout

    other = run(["eurosat", "1", "CasPL_PromptSRC", "OPTIM.MAX_EPOCH", "3", "DATALOADER.NUM_WORKERS", "0"], environment)
    assert other.returncode == 2
    assert "holds a run of other arguments" in other.stderr

    reboosted = run(["eurosat", "1", "CasPL_PromptSRC", *short], environment | {"BOOST_OPTIONS": "OPTIM.MAX_EPOCH 1"})
    assert reboosted.returncode == 2
    assert "boosting_runs" in reboosted.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["eurosatt", "1"], "unknown data set eurosatt; there are:"),
        (["eurosat", "one"], "the seed must be a number"),
        (["eurosat", "1", "CasPL_Nothing"], "no default config for CasPL_Nothing"),
        (["eurosat"], "base2new.sh DATASET SEED"),
    ],
)
def test_wrong_arguments(arguments: list[str], sentence: str) -> None:
    done = run(arguments, {"PYTHON": sys.executable})
    assert done.returncode == 2
    assert sentence in done.stdout + done.stderr


def test_wrong_config_name() -> None:
    done = run(["eurosat", "1", "CoOp"], {"PYTHON": sys.executable, "CFG": "nothing"})
    assert done.returncode == 2
    assert "no config nothing.yaml in configs/trainers/CoOp; there are: " in done.stderr
    assert " vit_b16_ctxv1.yaml " in done.stderr


def test_help() -> None:
    done = run(["--help"], {})
    assert done.returncode == 0
    assert "DATASET SEED [TRAINER]" in done.stdout


def test_labels_keep_two_settings_of_one_config_apart(tmp_path: Path) -> None:
    """With ``echo`` for an interpreter the driver prints its commands."""
    environment = {"PYTHON": "echo", "OUTPUT": str(tmp_path), "LABEL": "mine", "BOOST_LABEL": "short"}
    done = run(["tinysat", "1", "CasPL_PromptSRC"], environment | {"BOOST_OPTIONS": "OPTIM.MAX_EPOCH 5"})
    assert done.returncode == 0, done.stdout + done.stderr
    boost, base, new = (line for line in done.stdout.splitlines() if "train.py" in line)
    assert f"--output-dir {tmp_path}/boosting_runs/tinysat/CasPL/short/seed1 " in boost
    assert boost.endswith("TRAINER.RECORD.CONFIG short OPTIM.MAX_EPOCH 5")
    for line, part in ((base, "train_base"), (new, "test_new")):
        assert f"--output-dir {tmp_path}/base2new/{part}/tinysat/shots_16/CasPL_PromptSRC/mine/seed1 " in line
        assert "TRAINER.RECORD.CONFIG mine" in line
    assert all(f"TRAINER.CASPL.BOOSTING_DIR {tmp_path}/boosting/short " in line for line in (boost, base, new))

    unlabelled = run(["tinysat", "1", "CasPL_PromptSRC"], {"PYTHON": "echo", "OUTPUT": str(tmp_path)})
    assert unlabelled.stdout.split().count("tiny") == 3  # as TRAINER.RECORD.CONFIG
