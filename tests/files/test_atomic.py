"""Files that are there whole or not at all, also when the power goes."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from caspl.errors import CasPLError
from caspl.files import write_atomically, write_json


def test_content_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep/result.json"
    done: list[object] = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(handle: int) -> None:
        names = {os.stat(one).st_ino: one.name for one in (path.parent, *path.parent.iterdir())}
        name = names[os.fstat(handle).st_ino]
        done.append(("flushed", name if name in ("deep", path.name) else "temporary", os.fstat(handle).st_size > 2))
        fsync(handle)

    def recorded_replace(*paths: Any) -> None:
        done.append("moved")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    write_json(path, {"a": 1})
    assert done == [("flushed", "temporary", True), "moved", ("flushed", "deep", True)]
    assert path.read_text() == '{\n  "a": 1\n}\n'


def test_a_disk_that_is_full_when_it_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_json(tmp_path / "result.json", 1)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CasPLError, match=r"cannot write .*result\.json: No space left on device"):
        write_json(path, 2)
    assert path.read_text() == "1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def files_only(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", files_only)
    path = write_atomically(tmp_path / "a", lambda temporary: Path(temporary).write_text("whole"))
    assert path.read_text() == "whole"
