"""Runs as jobs of a cluster: of submitit's local one here, and with ``-m slow`` of a real SLURM of one node."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from caspl.errors import CasPLError
from caspl.files import Claim
from tests.runs import REPO
from tests.stand_in import executor_of, made

sys.path.append(str(REPO / "scripts"))
from cluster import Cluster

NODE = REPO / "tests/slurm_node.sh"
SETTINGS = ["slurm_partition=all", "cpus_per_task=1", "timeout_min=5"]


def check(output: Path, where: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """What needs another comes after it, a failed run takes only those along that need it, and nothing runs twice."""
    runs = [
        *(made(output, "boost"), made(output, "adapt", needs=("boost",))),
        *(made(output, "bad", "FAILS"), made(output, "after", needs=("bad",))),
    ]
    assert executor_of(output, runs, 2, where).run() == 3
    told = capsys.readouterr()
    assert "failed: bad (code 3): this run has failed" in told.err
    assert "failed: after (code 3): it needs bad" in told.err
    assert (output / "boost/result.json").stat().st_mtime <= (output / "adapt/began").stat().st_mtime
    assert "begins adapt" in (output / "logs/adapt.log").read_text()
    # The same command goes on: one that has been finished meanwhile is not done again.
    assert executor_of(output, runs[:2], 2, where).run() == 0
    assert (output / "adapt/began").read_text() == "x"


def test_jobs_of_a_cluster(stand_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(stand_in, Cluster(stand_in / "logs/slurm", ["cluster=local", "timeout_min=5"]), capsys)


class Refusing:
    """A cluster that takes no more than some jobs."""

    def __init__(self, most: int) -> None:
        self.most, self.taken = most, 0

    def start(self, line: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        if self.taken == self.most:
            raise CasPLError("the cluster takes no job: QOSMaxSubmitJobPerUserLimit")
        self.taken += 1
        return subprocess.Popen(line)


def test_a_cluster_that_takes_no_more_is_waited_for(stand_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What has begun goes on; where nothing has, there is no more to hope for."""
    runs = [made(stand_in, f"run {number}") for number in range(3)]
    where: Any = Refusing(2)
    with pytest.raises(CasPLError, match="the cluster takes no job: QOS"):
        executor_of(stand_in, runs, 3, where).run()
    assert all((stand_in / f"run {number}/result.json").exists() for number in range(2))
    assert "QOSMaxSubmitJobPerUserLimit: 2 jobs go on, and then others" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["partition"], "--slurm takes KEY=VALUE, not 'partition'"),
        (["cluster=local", "gpu=1"], "--slurm cluster=local gpu=1: "),
        (["cluster=nothing"], "--slurm cluster=nothing: "),
    ],
)
def test_settings_that_are_none(settings: list[str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(CasPLError) as raised:
        Cluster(tmp_path, settings)
    assert str(raised.value).startswith(sentence)
    assert "\n" not in str(raised.value)


def test_without_a_cluster_it_is_said(tmp_path: Path) -> None:
    line = [
        sys.executable,
        str(REPO / "scripts/reproduce.py"),
        "base2new",
        "--datasets",
        "tinysat",
        "--methods",
        "CoOp",
    ]
    line += ["--root", str(tmp_path / "data"), "--output", str(tmp_path / "output"), "--slurm", "slurm_partition=gpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PATH": str(tmp_path)}
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --slurm slurm_partition=gpu: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "output/base2new").exists()


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    if shutil.which("slurmctld") is None or shutil.which("munged") is None or os.geteuid():
        pytest.skip("needs slurm-wlm and munge, and root")
    folder = tmp_path / "cluster"
    subprocess.run(["bash", str(NODE), "start", str(folder)], check=True)
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    yield folder
    subprocess.run(["bash", str(NODE), "stop", str(folder)], check=True)


@pytest.mark.slow
@pytest.mark.usefixtures("slurm")
def test_a_real_slurm(stand_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(
        stand_in, Cluster(stand_in / "logs/slurm", ["slurm_partition=all", "cpus_per_task=1", "timeout_min=5"]), capsys
    )


@pytest.mark.slow
@pytest.mark.usefixtures("slurm")
def test_a_driver_that_is_ended_takes_its_jobs_back(
    stand_in: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor = executor_of(
        stand_in, [made(stand_in, "long", seconds=60)], 1, Cluster(stand_in / "logs/slurm", SETTINGS)
    )
    turn = executor.turn

    def interrupted() -> None:
        turn()
        if (stand_in / "long/began").exists():
            raise KeyboardInterrupt("SIGTERM")

    monkeypatch.setattr(executor, "turn", interrupted)
    assert executor.run() == 130
    assert not (stand_in / "long/result.json").exists()
    (job,) = executor.jobs
    assert job.process.poll() is not None
    with Claim.within(stand_in / "long").wait(say=lambda _: None):  # which the run has given back
        assert not (stand_in / "long/result.json").exists()
