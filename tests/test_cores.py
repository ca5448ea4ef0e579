"""Cores that are shared: quotas, load, and threads that slow each other down."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from caspl import cores


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu.max": "nonsense"}, 8),
        ({}, 8),
    ],
)
def test_a_containers_quota(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    (tmp_path / "cpu").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert cores.usable_cores(tmp_path) == expected


@pytest.mark.parametrize(("idle", "busy", "expected"), [(800, 0, 8), (300, 500, 3), (0, 800, 1), (0, 0, 8)])
def test_the_cores_that_others_leave_idle(
    idle: int, busy: int, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = tmp_path / "stat"
    looks = iter(["cpu  100 0 50 1000 0 0 0\ncpu0 1", f"cpu  {100 + busy} 0 50 {1000 + idle} 0 0 0\ncpu0 1"])
    monkeypatch.setattr(cores, "usable_cores", lambda: 8)
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(Path, "read_text", lambda self: next(looks))
    assert cores.free_cores(stat, 0.0) == expected


def test_where_idle_time_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: 4)
    assert cores.free_cores(tmp_path / "nothing", 0.0) == 4


def test_threads_that_slow_each_other_down(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    before = torch.get_num_threads()
    monkeypatch.setattr(cores, "usable_cores", lambda: 2)
    monkeypatch.setattr(cores, "slowdown", lambda threads: 35.0)
    try:
        torch.set_num_threads(4)
        cores.settle_threads({"OMP_NUM_THREADS": "4"})
        assert torch.get_num_threads() == 4  # the user has said so
        cores.settle_threads({})
        assert torch.get_num_threads() == 2
        assert "2 threads take 35.0 times as long as one" in caplog.text
        assert "OMP_NUM_THREADS=1" in caplog.text
        torch.set_num_threads(1)
        caplog.clear()
        cores.settle_threads({})
        assert not caplog.records
    finally:
        torch.set_num_threads(before)


def test_measuring_leaves_the_number_of_threads() -> None:
    before = torch.get_num_threads()
    assert cores.slowdown(2, rounds=1) > 0
    assert torch.get_num_threads() == before
