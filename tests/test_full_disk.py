"""Full disks and unwritable folders, at each file that a run writes: one sentence, nothing lost, and it goes on."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable

import pytest

import train
from tests.conftest import boosting_file
from tests.full_disk import full_disk
from tests.runs import Runs, learned

Line = Callable[[Runs, str], list[str]]
AVERAGES = ["TEST.FINAL_MODEL", "best_val", "TRAIN.CHECKPOINT_FREQ", "1", "OPTIM.MAX_EPOCH", "2"]
LINES: dict[str, Line] = {
    "phase 1": lambda runs, out: runs.phase1(
        out, "OPTIM.MAX_EPOCH", "2", "TRAINER.CASPL.BOOSTING_DIR", str(runs.folder / out / "boosting")
    ),
    "phase 2": lambda runs, out: runs.phase2(
        out, "TRAINER.CASPL.BOOSTING", str(runs.folder / "b.safetensors"), *AVERAGES
    ),
}


def ended_well(code: int, capsys: pytest.CaptureFixture[str]) -> str:
    """That a run has ended in a sentence, or not noticed; returns the sentence."""
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert "Logging error" not in printed.err
    lines = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == (code == 2)
    assert code in (0, 2)
    return lines[0] if lines else ""


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_each_file_that_cannot_be_written(kind: str, code: int, runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    """From that one on the disk takes no more. Then there is room, and the same command ends in the same bits."""
    boosting_file(runs.folder / "b.safetensors")
    line = LINES[kind]
    with full_disk(runs.folder, first=10**9) as disk:
        assert train.main(line(runs, "whole")) == 0
    expected, written = learned(runs.folder / "whole"), len(disk.opened)
    assert written > 8
    capsys.readouterr()
    said = set()
    for first in range(1, written + 1):
        shutil.rmtree(runs.folder / "run", ignore_errors=True)
        with full_disk(runs.folder, first, code=code) as disk:
            said.add(ended_well(train.main(line(runs, "run")), capsys))
        assert not list((runs.folder / "run").rglob(".*tmp"))
        assert train.main(line(runs, "run")) == 0, disk.opened[first - 1]
        assert learned(runs.folder / "run") == expected
        capsys.readouterr()
    assert any({errno.ENOSPC: "No space left", errno.EACCES: "Permission denied"}[code] in one for one in said)
