"""The effect on the shipped benchmark, through the driver that ``make demo`` runs (slow tier)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from caspl.results.collect import base_to_new, find_records

REPO = Path(__file__).parents[1]


@pytest.mark.slow
def test_boosting_helps_on_tinysat(tmp_path: Path) -> None:
    environment = os.environ | {"DATA": str(tmp_path / "data"), "OUTPUT": str(tmp_path / "output")}
    environment |= {"PYTHON": sys.executable, "PYTHONPATH": str(REPO)}
    done = subprocess.run(["bash", str(REPO / "scripts/demo.sh")], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    groups = base_to_new(find_records(tmp_path / "output" / "base2new"))
    found = {f"{group.trainer}/{group.config}": group.harmonic for group in groups}
    score = {name: summary.mean for name, summary in found.items() if summary is not None}
    assert score["ZeroshotCLIP/tiny_teacher"] > score["ZeroshotCLIP/tiny"] + 8
    assert score["CasPL_ZeroshotCLIP/tiny"] > score["ZeroshotCLIP/tiny"]
    assert score["CasPL_CoOp/tiny"] > score["CoOp/tiny"]
    assert score["CasPL_PromptSRC/tiny"] > score["PromptSRC/tiny"] + 2
