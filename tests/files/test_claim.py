"""Claims between real processes: one holder, killed ones, children, other machines, disks that refuse."""

from __future__ import annotations

import errno
import json
import os
import platform
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from caspl.errors import CasPLError
from caspl.files import Claim, claim
from caspl.files.holder import Holder
from tests.files.worker import Worker, working

PROC = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@pytest.fixture
def worker() -> Iterator[Worker]:
    with working() as process:
        yield process


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def refused(path: Path) -> str:
    with pytest.raises(CasPLError) as caught:
        Claim(path).take()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change(path: Path, **content: Any) -> None:
    """Change what a claim file says."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **content}))


def test_a_claim_is_a_hidden_file_that_goes(tmp_path: Path) -> None:
    with Claim(tmp_path / "deep/run", "a test") as held:
        assert files(tmp_path) == ["deep/.run.claim"]
        content = json.loads(held.file.read_text())
        assert (content["process"], content["host"], content["what"]) == (os.getpid(), platform.node(), "a test")
    assert files(tmp_path) == []
    with Claim.within(tmp_path / "run"):
        assert files(tmp_path) == ["run/.claim"]
    assert files(tmp_path) == []


def test_what_is_linked_is_claimed_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "there")
    for make in (Claim, Claim.within):
        with make(tmp_path / "there"), pytest.raises(CasPLError, match="here is claimed by"):
            make(tmp_path / "here").take()


def test_another_process_holds_it(worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / "run"
    assert worker.ask("take", path) == "done"
    said = refused(path)
    assert said.startswith(f"{path} is claimed by process {worker.process.pid} on {platform.node()} since 20")
    assert " (another): wait until that has ended" in said
    assert worker.ask("release") == "done"
    with Claim(path):
        assert f"process {os.getpid()} on" in worker.ask("take", path)
    assert files(tmp_path) == []


def test_this_process_holds_it(tmp_path: Path) -> None:
    held = Claim(tmp_path / "run").take()
    assert f"claimed by process {os.getpid()} on" in refused(tmp_path / "run")
    for again in (held, Claim(tmp_path / "run")):
        with pytest.raises(CasPLError, match=f"claimed by process {os.getpid()} on"):
            again.wait()
    held.release()
    held.release()
    with held:
        pass


@PROC
@pytest.mark.parametrize("reaped", [True, False])
def test_a_killed_holder_leaves_nothing_in_the_way(reaped: bool, worker: Worker, tmp_path: Path) -> None:
    assert worker.ask("take", tmp_path / "run") == "done"
    os.kill(worker.process.pid, signal.SIGKILL)
    if reaped:
        worker.process.wait()
    else:
        os.waitid(os.P_PID, worker.process.pid, os.WEXITED | os.WNOWAIT)
    with Claim(tmp_path / "run") as held:
        assert Holder.parse(held.file.read_text()).processes[0].number == os.getpid()
        assert files(tmp_path) == [".run.claim"]
    assert files(tmp_path) == []


@PROC
def test_another_process_has_got_the_number(worker: Worker, tmp_path: Path) -> None:
    assert worker.ask("take", tmp_path / "run") == "done"
    change(tmp_path / ".run.claim", started="1")
    with Claim(tmp_path / "run"):
        worker.ask("release")
        assert files(tmp_path) == [".run.claim"], "released by one whose claim it no longer is"


@pytest.mark.parametrize("far", [{"host": "elsewhere"}, {"namespace": "pid:[1]"}])
def test_of_another_machine_nothing_is_known(far: dict[str, str], worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / "run"
    worker.ask("take", path)
    worker.kill()
    change(tmp_path / ".run.claim", **far)
    said = refused(path)
    assert f"on {far.get('host', platform.node())} since" in said
    assert said.endswith(f", or delete {tmp_path / '.run.claim'} if that is dead")
    (tmp_path / ".run.claim").unlink()
    with Claim(path):
        pass


def test_without_a_process_table_the_number_counts(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caspl.files.holder._stat", lambda _: ("", ""))
    worker.ask("take", tmp_path / "run")
    change(tmp_path / ".run.claim", started="")
    assert "if that is dead" in refused(tmp_path / "run")
    worker.kill()
    with Claim(tmp_path / "run"):
        assert f"process {os.getpid()}" in refused(tmp_path / "run")


def test_one_of_many_takes_over(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with ExitStack() as stack:
        dead = stack.enter_context(working())
        workers = [stack.enter_context(working()) for _ in range(8)]
        dead.ask("take", path)
        dead.kill()
        stale = (tmp_path / ".run.claim").read_text()
        for _ in range(20):
            (tmp_path / ".run.claim").write_text(stale)
            for worker in workers:
                worker.tell("take", path)
            answers = [worker.answer() for worker in workers]
            assert answers.count("done") == 1
            winner = workers[answers.index("done")]
            others = [answer for answer in answers if answer != "done"]
            assert all(f"claimed by process {winner.process.pid} on" in answer for answer in others)
            assert winner.ask("release") == "done"
            assert files(tmp_path) == []


def test_what_another_has_taken_over_meanwhile_is_not_removed(tmp_path: Path) -> None:
    """As on disks without locks: it was stale when it was read, and is another's when it is moved."""
    stale = Holder.this()
    with Claim(tmp_path / "run") as held:
        Claim(tmp_path / "run")._remove(stale)
        assert files(tmp_path) == [".run.claim"]
        assert f"process {os.getpid()}" in refused(tmp_path / "run")
    assert files(tmp_path) == []
    assert not held.file.exists()


def test_waiting(worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / "run"
    with Claim(path):
        worker.tell("wait", path)
        assert worker.answer() == "waits"
    assert worker.answer() == "done"
    said: list[str] = []

    def say(sentence: str) -> None:
        said.append(sentence)
        worker.kill()

    with Claim(path).wait(0.01, say):
        (sentence,) = said
        assert sentence.startswith(f"{path} is claimed by process {worker.process.pid} on")
        assert sentence.endswith("(another): waiting until that has ended")


def test_a_child_shares_its_parents_claim(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with Claim(path) as held, Claim(tmp_path / "other") as other:
        tokens = os.environ | held.environment()
        with working(tokens) as child:
            for _ in range(2):
                assert child.ask("take", path) == "done"
                assert "is claimed by process" in child.ask("wait", path)
                assert child.ask("release") == "done"
                assert f"process {os.getpid()}" in refused(path)
            assert "is claimed by process" in child.ask("take", other.path)
    assert files(tmp_path) == []


def test_tokens_are_handed_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Claim(tmp_path / "run") as outer:
        monkeypatch.setenv(claim.VARIABLE, outer.environment()[claim.VARIABLE])
        with Claim(tmp_path / "cache") as inner, working(os.environ | inner.environment()) as child:
            assert child.ask("take", tmp_path / "run") == "done"
            assert child.ask("take", tmp_path / "cache") == "done"


@PROC
def test_a_child_outlives_its_parent(worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / "run"
    worker.ask("take", path)
    token = Holder.parse((tmp_path / ".run.claim").read_text()).token
    with working(os.environ | {claim.VARIABLE: token}) as child:
        assert child.ask("take", path) == "done"
        worker.kill()
        assert f"claimed by process {child.process.pid} on" in refused(path)
        child.kill()
        with Claim(path):
            pass


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"process": -1}', "\udcff"])
def test_a_damaged_file(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "PAUSE", 0)
    (tmp_path / ".run.claim").write_bytes(content.encode(errors="surrogateescape"))
    said = refused(tmp_path / "run")
    assert (
        said == f"the claim {tmp_path / '.run.claim'} is damaged: delete it, unless {tmp_path / 'run'} is being written"
    )
    with pytest.raises(CasPLError, match="is damaged"):
        Claim(tmp_path / "run").wait()


def test_numbers_of_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "PAUSE", 0)
    held = Claim(tmp_path / "run").take()
    for number in (0, -1, 2**40):
        change(held.file, process=number)
        assert "is damaged" in refused(tmp_path / "run")


def failing(code: int, path: Path) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), str(path))

    return fail


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("function", ["open", "mkdir"])
def test_a_folder_that_cannot_be_written(
    function: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, function, failing(code, tmp_path))
        said = refused(tmp_path / "folder/run")
    file = tmp_path / "folder/.run.claim"
    assert f"run cannot be claimed, since {file} cannot be written ({os.strerror(code)}): make room" in said
    assert files(tmp_path) == []


def test_a_disk_that_is_full_while_the_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.ENOSPC, tmp_path))
        assert "No space left on device" in refused(tmp_path / "run")
    assert files(tmp_path) == []


def test_a_disk_without_links(worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EPERM, tmp_path))
    path = tmp_path / "run"
    with Claim(path):
        assert files(tmp_path) == [".run.claim"]
        assert f"process {os.getpid()}" in refused(path)
        assert f"process {os.getpid()}" in worker.ask("take", path)
    worker.ask("take", path)
    worker.kill()
    with Claim(path):
        assert files(tmp_path) == [".run.claim"]


def test_a_system_without_locks(worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "fcntl", None)
    worker.ask("take", tmp_path / "run")
    assert f"process {worker.process.pid}" in refused(tmp_path / "run")
    worker.kill()
    with Claim(tmp_path / "run"):
        pass
    assert files(tmp_path) == []


def test_releasing_what_is_gone_or_anothers(tmp_path: Path) -> None:
    held = Claim.within(tmp_path / "run").take()
    held.file.unlink()
    held.file.parent.rmdir()
    held.release()
    held.take()
    text = held.file.read_text()
    for content in ("{", text.replace(Holder.parse(text).token, "0" * 32)):
        held._mine = Holder.parse(text)
        held.file.write_text(content)
        held.release()
        assert held.file.read_text() == content


def test_a_fork_releases_nothing(tmp_path: Path) -> None:
    with Claim(tmp_path / "run") as held:
        held._taker += 1  # what a fork sees
        held.release()
        assert files(tmp_path) == [".run.claim"]
