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
from tests.external import tree
from tests.external.runs import verdict

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


@pytest.mark.parametrize(
    ("output", "error", "code", "expected"),
    [
        ("* accuracy: 20.0%\n", "", 0, "yes (20.0 %)"),
        ("no figure\n", " 100%|####| 5/5", 0, "yes"),
        ("", "Traceback\nerror: do this\n 20%|#   | 1/5\nlast words\n", 1, "no: error: do this"),
        ("", "Traceback\nKeyError: 'x'\n 20%|#   | 1/5\n", 1, "no: KeyError: 'x'"),
        ("", "", 3, "no: exit code 3"),
    ],
)
def test_what_became_of_a_run(output: str, error: str, code: int, expected: str) -> None:
    assert verdict(subprocess.CompletedProcess([], code, output, error)) == expected


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("", ("-", "-")),
        ("self-check: passed\n", ("yes", "passed")),
        ("self-check: passed; gradients are not let through", ("not asked", "passed; gradients are not let through")),
        (
            "self-check: not checked: x, on which the logits do not depend",
            ("yes", "not checked: x, on which the logits do not depend"),
        ),
        ("self-check: not checked: a tower, which did not run", ("-", "not checked: a tower, which did not run")),
        ("error: self-check: it does not reach the logits", ("no", "it does not reach the logits")),
    ],
)
def test_what_the_self_check_said(log: str, expected: tuple[str, str]) -> None:
    assert tree.self_check(log) == expected


def test_the_lines_are_added_to_any_train_py(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/train.py").write_text("def setup(cfg, extend_cfg):\n    extend_cfg(cfg)\n    return cfg\n")
    checkout = tree.open_any(tmp_path / "theirs", tmp_path / "copy", "X", "text=False")
    lines = (checkout.folder / "train.py").read_text().splitlines()
    assert lines[2].startswith("    import caspl.plugin; ")
    assert lines[2].endswith("cascade(TRAINER_REGISTRY.get('X'), text=False); caspl.plugin.extend_cfg(cfg)")
    assert lines[1::2] == ["    extend_cfg(cfg)", "    return cfg"]
    (tmp_path / "theirs/train.py").write_text("pass\n")
    with pytest.raises(SystemExit, match="does not call extend_cfg"):
        tree.open_any(tmp_path / "theirs", tmp_path / "other")


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
