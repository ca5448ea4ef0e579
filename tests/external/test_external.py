"""Code bases that are not ours: the tables of ``docs/plugin.md`` and ``docs/engine.md``, where clones are given.

CASPL_CHECKOUTS=~/CoOp:~/PromptSRC pytest tests/external
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import train

REPO = Path(train.__file__).parent
CHECKOUTS = [path for path in os.environ.get("CASPL_CHECKOUTS", "").split(os.pathsep) if path]


@pytest.mark.skipif(not CHECKOUTS, reason="no clones of other code bases given in CASPL_CHECKOUTS")
def test_they_run_and_agree(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.external", *CHECKOUTS, "--work", str(tmp_path / "work")]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "| yes (" in done.stdout
    assert "| no:" not in done.stdout
    assert "failed:" not in done.stdout


def test_a_program_that_asks_for_cuda_runs_and_its_lines_are_named(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "clip.py").write_text("_MODELS = {}\ndef _download(url): raise OSError\n")
    (tmp_path / "train.py").write_text(
        "import sys, torch\nfrom clip import clip\n"
        "x = torch.ones(2).half()\nprint(sys.argv[1:], x.cuda().dtype, clip._download('https://there/ViT-B-16.pt'))\n"
    )
    script = str(REPO / "tests/external/cpu.py")
    command = [
        sys.executable,
        script,
        str(tmp_path),
        str(tmp_path / "weights"),
        "--full-precision",
        "--",
        "train.py",
        "-x",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"['-x'] torch.float32 {tmp_path / 'weights' / 'ViT-B-16.pt'}"
    assert done.stdout.splitlines()[1] == "CUDA-only: train.py:4"
