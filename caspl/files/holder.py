"""Who holds a claim: processes told apart from all others, also from later ones of the same number."""

from __future__ import annotations

import json
import os
import platform
import secrets
import sys
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from caspl.files.parse import parse_json


@dataclass(frozen=True)
class Process:
    """A process of one machine.

    Attributes:
        number: its id.
        started: when, in the system's own unit; empty where that is not known, as it is on Linux alone.
    """

    number: int
    started: str = ""

    @classmethod
    def this(cls) -> Process:
        """The one that runs this."""
        return cls(os.getpid(), _stat(os.getpid())[1])

    def lives(self) -> bool:
        """Whether it runs; where that cannot be found out, it is taken to."""
        if sys.platform == "win32":  # where the question below would end it
            return True
        try:
            os.kill(self.number, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # another user's
        state, started = _stat(self.number)
        # What was killed stays in the list until its parent has looked, which may be never.
        return state not in ("Z", "X") and (not self.started or not started or started == self.started)


@dataclass(frozen=True)
class Holder:
    """What a claim file says.

    Attributes:
        processes: the one that has taken the claim, then those of its children that share it.
        host: name of their machine.
        namespace: in which their ids count, such as that of a container; empty where there are none.
        token: of this claim alone.
        time: when it was taken.
        what: what for.
    """

    processes: tuple[Process, ...]
    host: str
    namespace: str
    token: str
    time: str
    what: str = ""

    @classmethod
    def this(cls, what: str = "") -> Holder:
        """This process, now."""
        time = datetime.now().astimezone().isoformat(timespec="seconds")
        return cls((Process.this(),), platform.node(), _namespace(), secrets.token_hex(16), time, what)

    @classmethod
    def parse(cls, text: str) -> Holder:
        """Read what ``text`` has written.

        Raises:
            ValueError: it is something else, or not all of it.
        """
        content = parse_json(text)
        try:
            listed = [content, *content["children"]]
            processes = tuple(Process(int(one["process"]), str(one["started"])) for one in listed)
            words = (str(content[key]) for key in ("host", "namespace", "token", "time", "what"))
            holder = cls(processes, *words)
        except (LookupError, TypeError) as error:
            raise ValueError("it lacks something") from error
        if not all(0 < process.number < 2**31 for process in processes):
            raise ValueError("these are no process ids")
        return holder

    def text(self) -> str:
        """The content of a claim file, JSON."""
        first, *children = ({"process": process.number, "started": process.started} for process in self.processes)
        words = {"host": self.host, "namespace": self.namespace, "token": self.token, "time": self.time}
        return json.dumps({**first, **words, "what": self.what, "children": children}, indent=2) + "\n"

    def shared_with(self, process: Process) -> Holder:
        """The same with another process."""
        return replace(self, processes=(*self.processes, process))

    def without(self, process: Process) -> Holder:
        """The same without a process."""
        return replace(self, processes=tuple(one for one in self.processes if one != process))

    def is_near(self) -> bool:
        """Whether its process ids are those of this machine and, where it has several, of this container."""
        return (self.host, self.namespace) == (platform.node(), _namespace())

    def is_gone(self) -> bool:
        """Whether none of the processes runs any more; of those on another machine that cannot be known."""
        return self.is_near() and not any(process.lives() for process in self.processes)

    def may_be_gone(self) -> bool:
        """Whether, for all that can be known here, none of the processes may run."""
        return not self.is_near() or not all(process.started for process in self.processes)

    def __str__(self) -> str:
        """In words, for a sentence."""
        living = [process for process in self.processes if not self.is_near() or process.lives()]
        what = f" ({self.what})" if self.what else ""
        return f"process {(living or self.processes)[0].number} on {self.host} since {self.time}{what}"


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _stat(number: int) -> tuple[str, str]:
    """State and start of a process, the fields 3 and 22 of Linux's table; empty where there is none."""
    try:
        text = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", ""
    # The second field is a name in brackets, which may hold anything.
    fields = text.rpartition(")")[2].split()
    return (fields[0], fields[19]) if len(fields) > 19 else ("", "")
