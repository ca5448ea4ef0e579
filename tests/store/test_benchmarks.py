"""The benchmarks of stores run to their end on small models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs import REPO


@pytest.mark.slow
@pytest.mark.parametrize("name", ["distillation", "distillation time", "distillation memory", "text_only"])
def test_they_run(name: str, tmp_path: Path) -> None:
    name, _, only = name.partition(" ")
    words = ["--small", "--classes", "5", "--steps", "1", "--out", str(tmp_path / "found.json")]
    words += ["--batches" if name == "distillation" else "--batch", "2"]
    words += ["--only", only] if only else []
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    command = [sys.executable, f"benchmarks/{name}.py", *words]
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert ("gain" in row, "online MiB" in row) == (only != "memory", name == "distillation" and only != "time")
    assert f"| {row['classes']} | {row['batch']} |" in done.stdout
