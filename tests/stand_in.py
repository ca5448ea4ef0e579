"""A stand-in for train.py, so that plans can be executed without training anything."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from caspl.protocols import Run
from tests.runs import REPO

sys.path.append(str(REPO / "scripts"))
import side_by_side
from cluster import Cluster

TRAIN = """
import sys, time
from pathlib import Path
sys.path.insert(0, "{repo}")
from caspl.files import Claim
def given(name):
    return sys.argv[sys.argv.index(name) + 1]
run = Path(given("--output-dir"))
with Claim.within(run):
    (run / "began").open("a").write("x")
    (run / "prompts").mkdir(exist_ok=True)
    (run / "prompts" / "checkpoint").touch()
    print("begins", run.name, flush=True)
    if "FAILS" in sys.argv:
        print("this run has failed")
        sys.exit(3)
    time.sleep(float(given("SECONDS")))
    (run / "result.json").write_text("{{}}")
"""


def stand_in_checkout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let runs be of a checkout with that train.py; returns the folder for its output."""
    checkout = folder / "checkout"
    checkout.mkdir()
    (checkout / "scripts").symlink_to(REPO / "scripts")
    (checkout / "train.py").write_text(TRAIN.format(repo=REPO))
    monkeypatch.setattr(side_by_side, "REPO", checkout)
    return folder / "output"


def made(output: Path, name: str, *words: str, needs: tuple[str, ...] = (), seconds: float = 0.3) -> Run:
    """A run of this name, which takes so long."""
    folder = output / name
    arguments = (*words, "SECONDS", str(seconds))
    return Run(folder, name, arguments, " ".join(arguments), tuple(output / need for need in needs), kind="any")


def executor_of(output: Path, runs: list[Run], jobs: int = 1, where: Cluster | None = None) -> side_by_side.Executor:
    """What runs them; each is ``train.py``'s stand-in with its words."""
    commands = {run.folder: ["--output-dir", str(run.folder), *run.arguments] for run in runs}
    return side_by_side.Executor(runs, commands, output, jobs, where)


def execute(output: Path, runs: list[Run], jobs: int = 1) -> int:
    """Run them; returns the exit code."""
    return executor_of(output, runs, jobs).run()
