"""What a run's record says about its machine, and that nothing missing stops it."""

import re
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
import torch

import caspl
from caspl.results import RunRecord, environment, machine
from caspl.runtime import Runtime


def test_environment_fills_a_record() -> None:
    filled = RunRecord(
        trainer="CoOp", dataset="EuroSAT", shots=1, seed=1, classes="all", metrics={"accuracy": 1.0}, **environment()
    )
    assert filled.versions["caspl"] == caspl.__version__
    assert filled.versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert filled.versions.keys() == {"python", "torch", "torchvision", "caspl", "numpy"}
    assert filled.hardware.keys() == {"device", "cpu", "cores"}
    assert filled.hardware["cores"] >= 1
    assert filled.hardware["cpu"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no resource module")
def test_peak_memory_is_in_mebibytes() -> None:
    # A process with torch in it needs more than 50 MiB and, here, less than 50 GiB.
    assert 50 < machine.peak_memory_mb() < 50 * 1024


def test_without_resource_the_peak_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    assert machine.peak_memory_mb() == 0.0


class Card:
    """A device that counts its tensors' memory."""

    device_name = "Some GPU"
    device_memory_mb = 3.0


def test_what_computed_is_named_and_measured_not_what_stands_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert machine.hardware(Card())["device"] == "Some GPU"
    assert machine.peak_memory_mb(Card()) == 3.0
    cpu, mps = Runtime(torch.device("cpu")), Runtime(torch.device("mps"))
    assert [machine.hardware(runtime)["device"] for runtime in (None, cpu, mps)] == ["cpu", "cpu", "mps"]
    assert machine.peak_memory_mb(cpu) > 50


def test_a_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise machine.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(machine.metadata, "version", missing)
    assert machine.versions()["torchvision"] == ""


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_commit_of_a_checkout_and_its_local_changes(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        name = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *name, *arguments], check=True, capture_output=True)

    git("init")
    assert machine.commit(tmp_path) == ""  # nothing committed yet
    file = tmp_path / "file"
    file.write_text("one")
    git("add", "file")
    git("commit", "-m", "one")
    git("tag", "-a", "v1", "-m", "a tag must not take the hash's place")
    clean = machine.commit(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", clean)
    file.write_text("two")
    assert machine.commit(tmp_path) == f"{clean}-dirty"
    # A package installed inside somebody's checkout does not take that checkout's commit.
    (tmp_path / "site-packages").mkdir()
    assert machine.commit(tmp_path / "site-packages") == ""


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert machine.commit(tmp_path) == ""


def test_now_is_in_utc() -> None:
    moment = datetime.fromisoformat(machine.now())
    assert moment.utcoffset() is not None
    assert moment.utcoffset().total_seconds() == 0  # type: ignore[union-attr]
