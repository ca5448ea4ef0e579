"""A store under everything that happens to files."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from caspl.errors import CasPLError
from caspl.store import Store
from tests.forked import lock_of_its_own
from tests.full_disk import full_disk
from tests.runs import REPO
from tests.store.build import HEADER, ROWS, build, features_of


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".claim")}


def test_features_come_back_rounded(tmp_path: Path) -> None:
    assert build(str(tmp_path)) == len(ROWS)
    assert build(str(tmp_path)) == 0
    store = Store(tmp_path, HEADER)
    some = [ROWS[7], ROWS[100], ROWS[3], ROWS[7]]
    found = store.features(*zip(*some, strict=True))
    assert torch.equal(found, features_of(some).half().float())
    assert store.verify() == len(store) == len(ROWS)
    with pytest.raises(CasPLError, match="lacks view 9 of image 1"):
        store.features(["image 1"], [9])


def test_what_is_killed_goes_on(tmp_path: Path) -> None:
    """Twenty times, at any moment; then the files are those of a build that nobody disturbed."""
    build(str(tmp_path / "whole"))
    generator = random.Random(5)
    pids = []
    for _ in range(20):
        process = os.fork()
        if not process:
            lock_of_its_own()
            build(str(tmp_path / "killed"), 0.002)
            os._exit(0)
        time.sleep(generator.uniform(0.002, 0.06))
        os.kill(process, signal.SIGKILL)
        pids.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
    assert pids.count(-signal.SIGKILL) > 5
    build(str(tmp_path / "killed"))
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_two_builders_at_once_share_the_work(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "tests.store.build", str(tmp_path / "both"), "0.01"]
    both = [subprocess.Popen(line, cwd=REPO, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    made = [int(process.communicate()[0]) for process in both]
    assert sum(made) == len(ROWS)
    build(str(tmp_path / "alone"))
    assert content(tmp_path / "both") == content(tmp_path / "alone")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("identity", "9999", "another encoder"),
        ("split", "other", "another split"),
        ("plan", {"seed": 1}, "other views"),
        ("pixels", {"size": 48}, "other preprocessing"),
        ("computes", "bfloat16", "another precision"),
        ("version", 2, "another version"),
    ],
)
def test_a_foreign_store_is_refused_and_left(key: str, value: object, words: str, tmp_path: Path) -> None:
    build(str(tmp_path))
    before = content(tmp_path)
    with pytest.raises(CasPLError, match=words):
        Store(tmp_path, replace(HEADER, **{key: value}))  # type: ignore[arg-type]
    assert content(tmp_path) == before


def test_damaged_shards_are_named(tmp_path: Path) -> None:
    build(str(tmp_path))
    shard = sorted(tmp_path.glob("*.npy"))[2]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    with pytest.raises(CasPLError, match=shard.name):
        Store(tmp_path, HEADER)
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CasPLError, match=shard.name):
        Store(tmp_path, HEADER).verify()
    shard.unlink()
    assert build(str(tmp_path)) == 8
    assert Store(tmp_path, HEADER).verify() == len(ROWS)


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    with full_disk(tmp_path, first=6), pytest.raises(CasPLError, match="space"):
        build(str(tmp_path))
    held = len(Store(tmp_path, HEADER))
    assert 0 < held < len(ROWS)
    assert build(str(tmp_path)) == len(ROWS) - held
    assert Store(tmp_path, HEADER).verify() == len(ROWS)


def test_a_budget_is_asked_first(tmp_path: Path) -> None:
    store = Store(tmp_path, HEADER, budget=1000)
    with pytest.raises(CasPLError, match="STORE_BYTES"):
        store.complete(ROWS, lambda rows: iter([features_of(rows)]))
    assert not list(tmp_path.glob("*.npy"))
