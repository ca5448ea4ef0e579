"""SIGKILL at random moments and in the middle of each write: the same command goes on and ends in the same bits."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runs import REPO, Runs, learned

pytestmark = pytest.mark.skipif(not hasattr(os, "fork") or not Path("/proc/self/fd").is_dir(), reason="needs Linux")
EPOCHS = ["OPTIM.MAX_EPOCH", "3", "TRAIN.CHECKPOINT_FREQ", "1"]
BEST = ["TEST.FINAL_MODEL", "best_val"]
KINDS = ("phase 1", "phase 2 with averages", "best_val")


class Killer:
    """Commands that are killed, over a process that has everything loaded."""

    def __init__(self, folder: Path) -> None:
        line = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.killed", str(folder)]
        streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(line, cwd=REPO, env=os.environ | {"OMP_NUM_THREADS": "1"}, **streams)

    def __call__(self, command: list[str], kill: tuple[str, float] | None = None) -> tuple[int, float]:
        """Exit code and seconds of a run."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([command, kill]) + "\n")
        self.process.stdin.flush()
        code, seconds = self.process.stdout.readline().split()
        return int(code), float(seconds)


@pytest.fixture
def killer(runs: Runs) -> Iterator[Killer]:
    found = Killer(runs.folder)
    with found.process:
        yield found
        found.process.kill()  # nothing of it is wanted, not even its end, which threads of libraries can hold up


def command(kind: str, runs: Runs, out: str) -> list[str]:
    if kind == "phase 1":
        return runs.phase1(out, *EPOCHS, "TRAINER.CASPL.BOOSTING_DIR", str(runs.folder / out / "boosting"))
    if kind == "best_val":
        coop = ["TRAINER.COOP.PREC", "fp32", "DATASET.NUM_SHOTS", "4"]
        return runs.arguments("CoOp", "CoOp/vit_b16_ctxv1", out, *coop, *EPOCHS, *BEST)
    averages = ["TRAINER.PROMPTSRC.PREC", "fp32", "TRAINER.PROMPTSRC.GPA_MEAN", "2", "DATASET.NUM_SHOTS", "4"]
    return runs.arguments("PromptSRC", "PromptSRC/vit_b16_c2_ep20_batch4_4+4ctx", out, *averages, *EPOCHS)


def survives(kind: str, runs: Runs, killer: Killer, moments: int, writes: int, seed: int) -> None:
    """So many random moments in one run, and so many of its writes in runs of their own; 0 is all of them."""
    killer(command(kind, runs, "first"))
    code, whole = killer(command(kind, runs, "whole"))
    assert code == 0
    expected = learned(runs.folder / "whole")
    assert expected
    generator = random.Random(seed)
    for _ in range(moments):
        code, _ = killer(command(kind, runs, "moments"), ("seconds", generator.uniform(0.1, 1) * whole))
        assert code in (0, -signal.SIGKILL)
    assert killer(command(kind, runs, "moments"))[0] == 0
    assert learned(runs.folder / "moments") == expected
    number, killed = 1, 0
    while not writes or killed < writes:
        shutil.rmtree(runs.folder / "write", ignore_errors=True)
        code, _ = killer(command(kind, runs, "write"), ("write", number))
        if code == 0:  # there is no such write any more
            assert number > 12
            break
        assert code == -signal.SIGKILL
        assert killer(command(kind, runs, "write"))[0] == 0, number
        assert learned(runs.folder / "write") == expected, number
        killed += 1
        number += generator.randint(2, 5) if writes else 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_goes_on(kind: str, runs: Runs, killer: Killer) -> None:
    survives(kind, runs, killer, moments=3, writes=3, seed=7)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_a_run_that_is_killed_over_and_over_goes_on(kind: str, seed: int, runs: Runs, killer: Killer) -> None:
    survives(kind, runs, killer, moments=25, writes=0, seed=seed)
