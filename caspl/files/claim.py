"""Claims: what one process writes, no other does at the same time.

A claim is a small file that says who holds it. It does not outlive its holder: where that has been killed, the next
process on the same machine takes the claim over.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from caspl.errors import CasPLError
from caspl.files.holder import Holder, Process

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

VARIABLE = "CASPL_CLAIM"
"""Environment variable with the tokens of the claims that a process shares with its parent, comma-separated."""

ATTEMPTS = 20
"""Looks at a claim file that is damaged, or gone when it is read, before it is called so."""
PAUSE = 0.05
"""Seconds between two of them."""


class Claim:
    """The right to write something: a file, or a folder that is made in one step.

    The claim on ``folder/name`` is the hidden file ``folder/.name.claim`` beside it; links are followed first. A folder
    that is filled where it is, such as a run's, is claimed by ``Claim.within(folder)``: the file is ``.claim`` in it,
    so that containers meet which share only that folder. Nothing needs to be there before; folders are made.

    It is taken once: again, also by the same process, it is refused until it is released. A child that was started with
    ``environment()`` shares its parent's claim; where the parent is killed, that lasts until the child has ended. ::

        with Claim(path, "train.py"):  # CasPLError if another process holds it
            write(path)
        with Claim(path).wait(say=print):  # waits for it
            ...

    What is held by a process that is gone is taken over, but not from another machine or container, of which this
    cannot be known, nor on Windows: there the refusal names the file to delete. Of several processes on one machine,
    exactly one takes it over; on network disks that lock no folders, that is all but certain.

    Args:
        path: what is claimed.
        what: what for, in a few words for those who find it claimed.
    """

    def __init__(self, path: str | Path, what: str = "") -> None:
        self.path = Path(path)
        self.what = what
        whole = Path(os.path.realpath(path))
        self.file = whole.parent / f".{whole.name}.claim"
        self._mine: Holder | None = None
        self._shared = False
        self._taker = 0

    @classmethod
    def within(cls, folder: str | Path, what: str = "") -> Claim:
        """The claim on what a folder holds, which lies in it."""
        claim = cls(folder, what)
        claim.file = Path(os.path.realpath(folder), ".claim")
        return claim

    def take(self) -> Claim:
        """Take it, at once.

        Raises:
            CasPLError: it is held, its file is damaged, or that cannot be written.
        """
        holder = self._try()
        if holder is not None:
            raise CasPLError(self._refusal(holder))
        return self

    def try_take(self) -> bool:
        """Take it if it is free; returns whether it is held now.

        Raises:
            CasPLError: its file is damaged, or cannot be written.
        """
        return self._try() is None

    def wait(self, poll: float = 1.0, say: Callable[[str], object] | None = None) -> Claim:
        """Take it as soon as it is free.

        Args:
            poll: seconds between two looks.
            say: told in a sentence for whom it waits, once for each.

        Raises:
            CasPLError: this very process holds it, its file is damaged, or that cannot be written.
        """
        told = ""
        while (holder := self._try()) is not None:
            if Process.this() in holder.processes and holder.is_near():
                raise CasPLError(self._refusal(holder))
            if say is not None and holder.token != told:
                told = holder.token
                lost = f" (delete {self.file} if that is dead)" if holder.may_be_gone() else ""
                say(f"{self.path} is claimed by {holder}: waiting until that has ended{lost}")
            time.sleep(poll)
        return self

    def release(self) -> None:
        """Give it up. Without effect if it is not held, was given up by force, or is a parent's, who goes on."""
        mine, self._mine = self._mine, None
        if mine is None or self._taker != os.getpid():  # a fork's copy
            return
        # What cannot be removed now is taken over, once this process is gone.
        with suppress(OSError, ValueError), _locked(self.file.parent):
            holder = Holder.parse(self.file.read_text(encoding="utf-8"))
            if holder.token == mine.token:
                if self._shared:
                    self._replace(holder.without(Process.this()))
                else:
                    self.file.unlink()

    def environment(self) -> dict[str, str]:
        """What to add to the environment of a child that shall share it."""
        tokens = [*_inherited(), *([self._mine.token] if self._mine else [])]
        return {VARIABLE: ",".join(dict.fromkeys(tokens))}

    def __enter__(self) -> Claim:
        return self if self._mine else self.take()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _try(self) -> Holder | None:
        """Take it; returns who holds it instead, if so."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.file.parent):
                for _ in range(ATTEMPTS):
                    mine = Holder.this(self.what)
                    if self._create(mine):
                        self._mine, self._shared, self._taker = mine, False, os.getpid()
                        return None
                    try:
                        holder = Holder.parse(self.file.read_text(encoding="utf-8"))
                    except (FileNotFoundError, ValueError):
                        # Released this moment, or, where there are neither links nor locks, half written.
                        time.sleep(PAUSE)
                        continue
                    if holder.token in _inherited() and Process.this() not in holder.processes:
                        if holder.is_near():
                            self._replace(holder.shared_with(Process.this()))
                        self._mine, self._shared, self._taker = holder, True, os.getpid()
                        return None
                    if not holder.is_gone():
                        return holder
                    self._remove(holder)
        except OSError as error:
            raise CasPLError(
                f"{self.path} cannot be claimed, since {self.file} cannot be written ({error.strerror or error}): "
                "make room there, or use another folder, in which you may write"
            ) from error
        raise CasPLError(f"the claim {self.file} is damaged: delete it, unless {self.path} is being written")

    def _refusal(self, holder: Holder) -> str:
        ways_out = ["wait until that has ended", "use another folder"]
        if holder.may_be_gone():
            ways_out.append(f"delete {self.file} if that is dead")
        return f"{self.path} is claimed by {holder}: {', '.join(ways_out[:-1])}, or {ways_out[-1]}"

    def _create(self, holder: Holder) -> bool:
        """Write the file, whole at once; returns whether there was none."""
        temporary = self._beside(holder.token)
        try:
            _write_new(temporary, holder.text())
            try:
                os.link(temporary, self.file)
            except FileExistsError:
                # A network disk may say so of an answer that it gave twice.
                return os.stat(temporary).st_nlink == 2
            except OSError:  # a disk without links
                try:
                    _write_new(self.file, holder.text())
                except FileExistsError:
                    return False
            return True
        finally:
            temporary.unlink(missing_ok=True)

    def _replace(self, holder: Holder) -> None:
        temporary = self._beside(secrets.token_hex(8))
        try:
            _write_new(temporary, holder.text())
            os.replace(temporary, self.file)
        finally:
            temporary.unlink(missing_ok=True)

    def _remove(self, gone: Holder) -> None:
        """Remove the file of a holder that is gone."""
        aside = self._beside(secrets.token_hex(8))
        with suppress(FileNotFoundError):
            # Of several processes, one moves it.
            os.rename(self.file, aside)
            if gone.token in aside.read_text(encoding="utf-8"):
                aside.unlink()
            else:  # where there are no locks, another was faster, and this is its claim
                os.rename(aside, self.file)

    def _beside(self, suffix: str) -> Path:
        return self.file.with_name(f"{self.file.name}.{suffix}")


def _inherited() -> list[str]:
    return [token for token in os.environ.get(VARIABLE, "").split(",") if token]


def _write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet, on the disk before it returns.

    Raises:
        FileExistsError: it is there.
        OSError: it cannot be written; then nothing of it is left.
    """
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(handle)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes of this machine from claims in a folder, where it can be locked. It takes no file."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # most network disks lock no folders
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        with suppress(OSError):  # closing is not enough: a fork of this moment has the folder open, too
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)
