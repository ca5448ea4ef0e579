"""Full disks and unwritable folders, at each file that a run writes: one sentence, nothing lost, and it goes on."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import train
from caspl.errors import CasPLError
from caspl.protocols import Run
from caspl.results.__main__ import main as results
from caspl.tiny.picture_folder import write_once
from caspl.towers.weights import write_clip
from tests.conftest import boosting_file
from tests.datasets.miniatures import images, numbered
from tests.datasets.test_folder import folder as own_folder
from tests.full_disk import full_disk
from tests.results.made import record, write_all
from tests.runs import REPO, Runs, learned
from tests.tiny_clip import SIZES, tiny_state_dict
from trainers.history import History

sys.path.append(str(REPO / "scripts"))
import run_once
import side_by_side

Line = Callable[[Runs, str], list[str]]
AVERAGES = ["TEST.FINAL_MODEL", "best_val", "TRAIN.CHECKPOINT_FREQ", "1", "OPTIM.MAX_EPOCH", "2"]
ANSWERS = ["TEST.PER_CLASS_RESULT", "True", "TEST.COMPUTE_CMAT", "True", "TEST.SAVE_PREDICTIONS", "True"]
LINES: dict[str, Line] = {
    "phase 1": lambda runs, out: runs.phase1(
        out, "OPTIM.MAX_EPOCH", "2", "TRAINER.CASPL.BOOSTING_DIR", str(runs.folder / out / "boosting")
    ),
    "phase 2": lambda runs, out: runs.phase2(
        out, "TRAINER.CASPL.BOOSTING", str(runs.folder / "b.safetensors"), *AVERAGES, *ANSWERS
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
    assert written > (8 if kind == "phase 1" else 14)
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


# What else writes ----------------------------------------------------------------------------------------------------

Write = Callable[[Path], object]


def tables(folder: Path) -> None:
    write_all(folder.parent / "records", [record(70.0)])
    assert results([str(folder.parent / "records"), "--output", str(folder / "table.txt")]) == 0


def own_images(folder: Path) -> None:
    """Whose split and few-shot sample are kept beside them."""
    assert len(own_folder(folder, 1).train_x) == 2


def one_command(folder: Path) -> None:
    assert run_once.main([str(folder / "run"), "--identity=x", "--", "-c", "pass"]) == 0


def several_commands(folder: Path) -> None:
    run = Run(folder / "run", "a run", (), "x")
    missing = str(folder.parent / "nothing.py")  # what is started ends at once
    assert side_by_side.Executor([run], {run.folder: [missing]}, folder, 1).run() != 0


WRITERS: dict[str, Write] = {
    "tables": tables,
    "boosting file": lambda folder: boosting_file(folder / "b.safetensors"),
    "split and sample of own images": own_images,
    "one command": one_command,
    "several commands": several_commands,
    "drawn pictures": lambda folder: write_once(folder, "drawn", 1, 1, lambda seed: {"train": drawn()}),
    "weights": lambda folder: write_clip(folder / "w.safetensors", tiny_state_dict(), "quick_gelu", SIZES.heads),
    "history": lambda folder: History(folder).end(1, lr=0.1),
}


def drawn() -> Iterator[tuple[np.ndarray, str, int, str]]:
    yield np.zeros((4, 4, 3), np.uint8), "a/1.png", 0, "a"


CASES = [(name, code) for name in WRITERS for code in (errno.EACCES, errno.ENOSPC)]
CASES.remove(("several commands", errno.ENOSPC))  # their logs are written by the commands


@pytest.mark.parametrize(("name", "code"), CASES)
def test_other_writers(
    name: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A sentence that names the file, or a line where the file is not needed; then all is written."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if name == "split and sample of own images":
        images(folder, numbered("ant", "bee", count=4))
    said = ""
    with full_disk(folder, code=code) as disk:
        try:
            WRITERS[name](folder)
        except CasPLError as error:
            said = str(error)
        except AssertionError:
            said = capsys.readouterr().err  # of a command that has ended with another code
    assert disk.opened
    assert os.strerror(code) in said + caplog.text
    assert "Traceback" not in said
    WRITERS[name](folder)
    assert not [path for path in folder.rglob(".*") if path.is_file()]
